package keys

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/imidentity/issuer/internal/secretfile"
)

// ReadKEK reads the key-encryption key from the file at path: 32 bytes as 64 hexadecimal digits or in base64. It refuses a
// file that others have access to ([secretfile.OpenError]) and returns [fs.ErrNotExist] if there is none.
func ReadKEK(path string) ([32]byte, error) {
	var kek [32]byte
	text, err := secretfile.Read(path)
	if err != nil {
		return kek, fmt.Errorf("keys: key-encryption key: %w", err)
	}
	raw, ok := decodeKEK(strings.TrimSpace(string(text)))
	if !ok {
		return kek, fmt.Errorf("keys: key-encryption key: %s does not hold 32 bytes in hexadecimal or base64", path)
	}
	return [32]byte(raw), nil
}

func decodeKEK(text string) ([]byte, bool) {
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	} {
		if raw, err := decode(text); err == nil && len(raw) == 32 {
			return raw, true
		}
	}
	return nil, false
}

// CreateKEK is like [ReadKEK], but creates the file with a new random key, readable by its owner only, if there is none. If
// several processes create it at once, all return the same key.
func CreateKEK(path string) ([32]byte, error) {
	kek, err := ReadKEK(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return kek, err
	}
	if err := createKEK(path); err != nil {
		return kek, fmt.Errorf("keys: make a key-encryption key: %w", err)
	}
	return ReadKEK(path)
}

// createKEK writes the key to a temporary file and links that to path, so that no reader sees an incomplete key.
func createKEK(path string) error {
	var kek [32]byte
	rand.Read(kek[:])
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(dir, ".kek-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = fmt.Fprintf(file, "%x\n", kek)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Link(file.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(dir)
}

// syncDir makes a new name in dir durable: secrets that are sealed under the key may be durable before it otherwise.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
