package statuslist

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/imidentity/issuer/internal/jose"
)

// A Token is what a status list token says (§5.1).
type Token struct {
	// Issuer is iss. The draft does not demand it; lists of this project's issuer have it.
	Issuer string
	// Subject is sub: the address of the list, as references write it.
	Subject  string
	IssuedAt time.Time
	Expires  time.Time // exp; zero if the token has none
	// NotBefore is nbf; zero if the token has none. [Token.Sign] does not write it.
	NotBefore time.Time
	// TTL is ttl: how long a copy may be used before a new one is fetched. Zero if the token has none.
	TTL  time.Duration
	List *List
	// Quick has [Token.Sign] compress the list in much less time to up to a third more bytes, for a list that changes often. §4.1
	// recommends the highest level.
	Quick bool
}

// A Signer signs the claims of a token.
type Signer interface {
	// Sign returns claims, which is JSON, as a compact JWS whose header names typ, the algorithm and the key.
	Sign(typ string, claims []byte) (string, error)
}

// Sign returns the token in compact serialization. Times are written in whole seconds. The error is about an incomplete token, or
// comes from s.
func (t *Token) Sign(s Signer) (string, error) {
	if t.Subject == "" || t.IssuedAt.IsZero() || t.List == nil {
		return "", errors.New("statuslist: a token needs Subject, IssuedAt and List")
	}
	type list struct {
		Bits int    `json:"bits"`
		Lst  string `json:"lst"`
	}
	payload := struct {
		Issuer   string `json:"iss,omitempty"`
		Subject  string `json:"sub"`
		IssuedAt int64  `json:"iat"`
		Expires  int64  `json:"exp,omitempty"`
		TTL      int64  `json:"ttl,omitempty"`
		List     list   `json:"status_list"`
	}{
		Issuer: t.Issuer, Subject: t.Subject, IssuedAt: t.IssuedAt.Unix(), TTL: int64(t.TTL / time.Second),
		List: list{Bits: t.List.bits},
	}
	if t.Quick {
		payload.List.Lst = base64.RawURLEncoding.EncodeToString(t.List.compress(quickLevel))
	} else {
		payload.List.Lst = base64.RawURLEncoding.EncodeToString(t.List.Compress())
	}
	if !t.Expires.IsZero() {
		payload.Expires = t.Expires.Unix()
	}
	var claims bytes.Buffer
	w := json.NewEncoder(&claims)
	w.SetEscapeHTML(false) // so that the sub is written as references write it
	if err := w.Encode(payload); err != nil {
		return "", fmt.Errorf("statuslist: write the claims: %w", err)
	}
	signed, err := s.Sign(jose.TypeStatusList, bytes.TrimSpace(claims.Bytes()))
	if err != nil {
		return "", fmt.Errorf("statuslist: sign: %w", err)
	}
	return signed, nil
}

// Defaults for the zero values of [Limits].
const (
	DefaultPacked   = 1 << 20
	DefaultUnpacked = 4 << 20
)

// Limits bound the size of a list that is read.
type Limits struct {
	// Packed is how many bytes the signed token may have. Zero means [DefaultPacked].
	Packed int
	// Unpacked is how many bytes the list may have without compression. Zero means [DefaultUnpacked].
	Unpacked int
}

func (l *Limits) complete() {
	if l.Packed == 0 {
		l.Packed = DefaultPacked
	}
	if l.Unpacked == 0 {
		l.Unpacked = DefaultUnpacked
	}
}

// A Signed is a token that was read. Its author is unknown until [Signed.Verify] has returned nil.
type Signed struct {
	Token
	Alg, Kid string // of the header; Kid may be empty

	jws *jose.JWS
}

// Parse reads a status list token in compact serialization and unpacks its list. It checks the form, the type and that the required
// claims are there (§5.1, §8.3 step 3b); times, issuer and subject are left to the caller. The error is [ErrTooLarge], [ErrBits] or
// [ErrMalformed].
func Parse(token string, limits Limits) (*Signed, error) {
	limits.complete()
	if len(token) > limits.Packed {
		return nil, fault(ErrTooLarge, fmt.Errorf("it has more than %d bytes", limits.Packed))
	}
	jws, err := jose.ParseCompact(token, jose.Limits{Total: limits.Packed})
	if err != nil {
		return nil, fault(ErrMalformed, err)
	}
	// RFC 8725 §3.11: another kind of token by the same key is no status list.
	if jws.Header.Typ != jose.TypeStatusList {
		return nil, fault(ErrMalformed, errors.New("typ is not "+jose.TypeStatusList))
	}
	s := &Signed{Alg: jws.Header.Alg, Kid: jws.Header.Kid, jws: jws}
	if err := s.read(jws.Payload, limits.Unpacked); err != nil {
		return nil, err
	}
	return s, nil
}

// Verify verifies the signature with key and alg, which the caller has chosen. The error is [ErrKey].
func (s *Signed) Verify(alg string, key crypto.PublicKey) error {
	if err := s.jws.Verify(alg, key); err != nil {
		return fault(ErrKey, err)
	}
	return nil
}

// read reads the claims.
func (s *Signed) read(payload []byte, unpacked int) error {
	var list struct {
		bits int
		lst  string
		here bool
	}
	err := jose.ReadMembers(payload,
		jose.Member{Name: "iss", Text: &s.Issuer},
		jose.Member{Name: "sub", Text: &s.Subject, Required: true},
		jose.Member{Name: "iat", Date: &s.IssuedAt, Required: true},
		jose.Member{Name: "exp", Date: &s.Expires},
		jose.Member{Name: "ttl", Read: func(raw []byte) (err error) {
			s.TTL, err = seconds(raw)
			return err
		}},
		// RFC 7519 §4.1.3: who is not named by aud must refuse the token. A list is for everybody.
		jose.Member{Name: "aud", Read: func([]byte) error { return errors.New("a list is not for some recipients only") }},
		jose.Member{Name: "nbf", Date: &s.NotBefore},
		jose.Member{Name: "status_list", Read: func(raw []byte) error {
			list.here = true
			return jose.ReadMembers(raw,
				jose.Member{Name: "bits", Read: func(raw []byte) (err error) {
					if list.bits, err = strconv.Atoi(string(raw)); err != nil {
						err = errors.New("not a whole number")
					}
					return err
				}},
				jose.Member{Name: "lst", Text: &list.lst, Required: true})
		}})
	if err == nil && !list.here {
		err = errors.New("status_list is missing")
	}
	if err != nil {
		return fault(ErrMalformed, err)
	}
	compressed, err := jose.DecodeBase64(list.lst)
	if err != nil {
		return fault(ErrMalformed, fmt.Errorf("lst: %w", err))
	}
	s.List, err = Decompress(list.bits, compressed, unpacked)
	return err
}

// seconds reads a positive number of seconds (§5.1: ttl).
func seconds(raw []byte) (time.Duration, error) {
	at, err := jose.NumericDate(raw)
	n := at.Unix()
	if err != nil || n < 0 {
		return 0, errors.New("not a positive number of seconds")
	}
	const most = 1 << 30 // 34 years: no overflow
	d := time.Duration(min(n, most)) * time.Second
	if d == 0 {
		f, err := strconv.ParseFloat(string(raw), 64)
		if err != nil || f <= 0 {
			return 0, errors.New("not a positive number of seconds")
		}
		d = time.Duration(f * float64(time.Second))
	}
	return max(d, 1), nil
}
