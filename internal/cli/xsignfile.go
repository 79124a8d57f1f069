package cli

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/internal/sealed"
	"github.com/imidentity/issuer/internal/secretfile"
	"github.com/imidentity/issuer/xsign"
)

// The statements of a user, and the pins of a verifier, are read from files of at most that many bytes.
const maxXSignFile = 16 << 20

// A keyFileV1 is the file of a user's cross signing: the statements, which are public, and the three keys, sealed by a passphrase.
// Reading it takes no passphrase, and changing it does.
type keyFileV1 struct {
	Version int    `json:"version"`
	User    string `json:"user"`
	xsign.Bundle
	// Own are the user's vouches and distrusts.
	Own    []string   `json:"own"`
	Sealed sealed.Box `json:"sealed"`
}

// sealedKeys is what the box holds: the private keys in PKCS #8, and the hash of everything outside the box, so that a change there is
// noticed before it is signed again.
type sealedKeys struct {
	Master        []byte `json:"master"`
	DeviceSigning []byte `json:"device_signing"`
	UserSigning   []byte `json:"user_signing"`
	Rest          []byte `json:"rest"`
}

// A crossSigner is an opened key file.
type crossSigner struct {
	path     string
	file     keyFileV1
	user     claims.ID
	contents *xsign.Contents
	own      *xsign.Own
	// keys are nil until unlock.
	keys *privateKeys
}

type privateKeys struct {
	master, deviceSigning, userSigning crypto.Signer
}

// rest returns the hash of what is outside the box.
func (f *keyFileV1) rest() ([]byte, error) {
	text, err := json.Marshal(struct {
		Version int
		User    string
		Bundle  xsign.Bundle
		Own     []string
	}{f.Version, f.User, f.Bundle, append([]string{}, f.Own...)})
	sum := sha256.Sum256(text)
	return sum[:], err
}

// readCrossSigner reads a key file, and verifies the statements in it.
func readCrossSigner(path string) (*crossSigner, error) {
	text, err := readPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, refused("there are no keys in %s: make them with issuer xsign init", path)
	} else if err != nil {
		return nil, usage("%w", err)
	}
	c, err := parseCrossSigner(path, text)
	if err != nil {
		return nil, usage("%s is not a valid key file: %w", path, err)
	}
	return c, nil
}

func parseCrossSigner(path string, text []byte) (*crossSigner, error) {
	c := &crossSigner{path: path}
	if err := decodeStrictly(text, &c.file); err != nil {
		return nil, err
	}
	if c.file.Version != 1 {
		return nil, fmt.Errorf("it has version %d, and this release knows 1", c.file.Version)
	}
	if err := c.file.Sealed.Check(); err != nil {
		return nil, err
	}
	return c, c.read()
}

// read reads the statements.
func (c *crossSigner) read() error {
	id, err := claims.ParseIdentity(claims.Parser{AllowSingleLabel: true}, c.file.User, "", "")
	if err != nil {
		return err
	}
	if c.user = id.User; c.user.IsZero() {
		return errors.New("it names no user")
	}
	if c.contents, err = c.file.Open(c.user); err == nil {
		err = c.contents.DevicesErr
	}
	if err != nil {
		return err
	}
	c.own, err = xsign.ReadOwn(c.user, c.contents.Keys.UserSigning, c.file.Own)
	return err
}

// master returns the thumbprint of the master key.
func (c *crossSigner) master() string { return c.contents.Masters[len(c.contents.Masters)-1] }

// unlock opens the box.
func (c *crossSigner) unlock(passphrase []byte) error {
	text, err := c.file.Sealed.Open(passphrase)
	switch {
	case errors.Is(err, sealed.ErrPassphrase):
		return refused("the passphrase is wrong for %s", c.path)
	case err != nil:
		return usage("%s: %w", c.path, err)
	}
	var in sealedKeys
	if err := json.Unmarshal(text, &in); err != nil {
		return usage("%s: read the keys: %w", c.path, err)
	}
	rest, err := c.file.rest()
	if err != nil {
		return err
	}
	if !bytes.Equal(rest, in.Rest) {
		return refused("%s was changed by something else than this command: nothing is signed with it. Restore it from a copy", c.path)
	}
	keys := new(privateKeys)
	for _, one := range []struct {
		der    []byte
		to     *crypto.Signer
		public crypto.PublicKey
	}{
		{in.Master, &keys.master, c.contents.Keys.Master}, {in.DeviceSigning, &keys.deviceSigning, c.contents.Keys.DeviceSigning},
		{in.UserSigning, &keys.userSigning, c.contents.Keys.UserSigning},
	} {
		key, err := x509.ParsePKCS8PrivateKey(one.der)
		signer, ok := key.(crypto.Signer)
		if err != nil || !ok {
			return usage("%s: a sealed key cannot be read", c.path)
		}
		if public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(one.public) {
			return usage("%s: a sealed key is not the one in the statements", c.path)
		}
		*one.to = signer
	}
	c.keys = keys
	return nil
}

// seal seals the keys and the hash of the statements as they are now.
func (c *crossSigner) seal(passphrase []byte) error {
	in, err := sealedKeys{}, error(nil)
	if in.Rest, err = c.file.rest(); err != nil {
		return err
	}
	for _, one := range []struct {
		to  *[]byte
		key crypto.Signer
	}{{&in.Master, c.keys.master}, {&in.DeviceSigning, c.keys.deviceSigning}, {&in.UserSigning, c.keys.userSigning}} {
		if *one.to, err = x509.MarshalPKCS8PrivateKey(one.key); err != nil {
			return err
		}
	}
	text, err := json.Marshal(in)
	if err != nil {
		return err
	}
	c.file.Sealed, err = sealed.Seal(passphrase, text)
	return err
}

// text returns the content of the file, which it reads first as it will be read.
func (c *crossSigner) text() (string, error) {
	text, err := json.MarshalIndent(c.file, "", "  ")
	if err == nil && len(text) >= maxXSignFile {
		err = errors.New("the statements are too many")
	}
	if err == nil {
		_, err = parseCrossSigner(c.path, text)
	}
	return string(text) + "\n", err
}

// newKeys returns three new keys.
func newKeys(algorithm string) (*privateKeys, error) {
	keys, err := new(privateKeys), error(nil)
	for _, to := range []*crypto.Signer{&keys.master, &keys.deviceSigning, &keys.userSigning} {
		if *to, err = newKey(algorithm); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

func newKey(algorithm string) (crypto.Signer, error) {
	if algorithm == jose.ES256 {
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}

// decodeStrictly decodes one JSON value without unknown members.
func decodeStrictly(text []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("there is more after the JSON object")
	}
	return nil
}

// readPrivate reads a file that no other user may read or change.
func readPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s %w", path, secretfile.ErrNotFile)
	}
	if err := secretfile.Check(path, secretfile.MayRead|secretfile.MayWrite); err != nil {
		return nil, err
	}
	return readAtMost(f, path)
}

func readAtMost(r io.Reader, name string) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxXSignFile+1))
	if err == nil && len(text) > maxXSignFile {
		err = fmt.Errorf("%s is larger than %d bytes", name, maxXSignFile)
	}
	return text, err
}

// locked runs change while no other process of this program changes files in the folder of a path. It creates the folder.
func locked(ctx context.Context, path string, change func() error) (err error) {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return usage("%w", err)
	}
	f, err := os.Open(folder)
	if err != nil {
		return usage("%w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }() // ends the lock
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return change()
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return usage("lock %s: %w", folder, err)
		}
		select {
		case <-ctx.Done():
			return unknown("another process is using %s", folder)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
