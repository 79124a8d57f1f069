package oauth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/storage"
)

const (
	// userCodeLetters are those of RFC 8628 §6.1: no vowels, so that no words come out, and none that looks like another one.
	userCodeLetters = "BCDFGHJKLMNPQRSTVWXZ"
	userCodeLength  = 8
	// maxUserCode is how many bytes of an input are read.
	maxUserCode = 64
)

// A UserCode is the code that a device shows to its user (RFC 8628 §6.1), without separators: 8 letters of 20, one of 20^8 or some 2^34.6.
//
// A guess must find a code that waits at that moment. With n such codes, one guess succeeds with probability n / 20^8, and who guesses one
// can only let a device of somebody else into their own account. The caller bounds the guesses of a person and of an address (RFC 8628
// §5.1): of 5 guesses in the ten minutes of a code, one finds a given code with probability 2^-32, and any of a thousand with 2^-22.
type UserCode string

// String returns the code as people see it: WDJB-MJHT.
func (c UserCode) String() string {
	if len(c) != userCodeLength {
		return string(c)
	}
	return string(c[:userCodeLength/2] + "-" + c[userCodeLength/2:])
}

// ParseUserCode reads a user code as a person writes it: in any case, and with any characters between that codes never have. It returns
// false if the rest is not a code.
func ParseUserCode(text string) (UserCode, bool) {
	if len(text) > maxUserCode {
		return "", false
	}
	code := make([]byte, 0, userCodeLength)
	for _, c := range []byte(strings.ToUpper(text)) {
		if strings.IndexByte(userCodeLetters, c) < 0 {
			continue
		}
		if len(code) == userCodeLength {
			return "", false
		}
		code = append(code, c)
	}
	return UserCode(code), len(code) == userCodeLength
}

// newUserCode returns a random user code.
func (p *Provider) newUserCode() (UserCode, error) {
	const usable = 256 - 256%len(userCodeLetters) // larger bytes would make the first letters likelier
	code := make([]byte, 0, userCodeLength)
	for len(code) < userCodeLength {
		var raw [2 * userCodeLength]byte
		if _, err := io.ReadFull(p.rand, raw[:]); err != nil {
			return "", fmt.Errorf("oauth: make a user code: %w", err)
		}
		for _, b := range raw {
			if int(b) < usable && len(code) < userCodeLength {
				code = append(code, userCodeLetters[int(b)%len(userCodeLetters)])
			}
		}
	}
	return UserCode(code), nil
}

// userCodes are the keys under which user codes are stored. A plain hash of so few bits could be reversed by a reader of the database.
type userCodes struct{ keys func() ([][32]byte, error) }

// mac returns under which MAC a new user code is stored.
func (k userCodes) mac(c UserCode) ([32]byte, error) {
	list, err := k.macs(c)
	if err != nil {
		return [32]byte{}, err
	}
	return list[0], nil
}

// macs returns the MACs under which a user code may be stored.
func (k userCodes) macs(c UserCode) ([][32]byte, error) {
	secrets, err := k.keys()
	if err != nil {
		return nil, fmt.Errorf("oauth: keys of user codes: %w", err)
	}
	list := make([][32]byte, 0, len(secrets))
	for _, secret := range secrets {
		key := keys.Derive(secret, "device user codes")
		m := hmac.New(sha256.New, key[:])
		m.Write([]byte(c))
		list = append(list, [32]byte(m.Sum(nil)))
	}
	return list, nil
}

// find returns the device code of a user code; [storage.ErrNotFound] if there is none.
func (k userCodes) find(ctx context.Context, db deviceCodes, c UserCode) (storage.DeviceCode, error) {
	macs, err := k.macs(c)
	if err != nil {
		return storage.DeviceCode{}, err
	}
	for _, mac := range macs {
		var row storage.DeviceCode
		if row, err = db.DeviceCodeOf(ctx, mac); !errors.Is(err, storage.ErrNotFound) {
			return row, err
		}
	}
	return storage.DeviceCode{}, err
}

// deviceCodes has device codes by their user codes.
type deviceCodes interface {
	DeviceCodeOf(ctx context.Context, userCode [32]byte) (storage.DeviceCode, error)
}
