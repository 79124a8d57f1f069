package keys_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

var kek = [32]byte{1, 2, 3}

func openStore(t testing.TB) storage.Store {
	t.Helper()
	s, err := sqlite.Open(context.Background(), sqlitetest.Temporary(t), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestSealer(t *testing.T) {
	s := keys.NewSealer(kek)
	sealed, err := s.Seal("a", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := s.Seal("a", []byte("secret")); bytes.Equal(sealed, again) {
		t.Error("Seal twice gives the same bytes, want a new nonce each time")
	}
	flipped := bytes.Clone(sealed)
	flipped[len(flipped)-1] ^= 1
	for _, test := range []struct {
		name   string
		sealer *keys.Sealer
		as     string
		sealed []byte
		want   error
	}{
		{"as sealed", s, "a", sealed, nil},
		{"other name", s, "b", sealed, keys.ErrWrongKey},
		{"other key", keys.NewSealer([32]byte{9}), "a", sealed, keys.ErrWrongKey},
		{"changed", s, "a", flipped, keys.ErrWrongKey},
		{"cut short", s, "a", sealed[:5], keys.ErrWrongKey},
	} {
		plain, err := test.sealer.Open(test.as, test.sealed)
		if !errors.Is(err, test.want) || err == nil && string(plain) != "secret" {
			t.Errorf("%s: Open = %q, %v, want %v", test.name, plain, err, test.want)
		}
	}
	for _, unknown := range [][]byte{nil, {2, 3, 4}} {
		if _, err := s.Open("a", unknown); err == nil || errors.Is(err, keys.ErrWrongKey) {
			t.Errorf("Open of form %v = %v, want an error about the form", unknown, err)
		}
	}
}

func TestReadKEK(t *testing.T) {
	raw := bytes.Repeat([]byte{0xfb}, 32)
	for name, test := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"hexadecimal": {hex.EncodeToString(raw) + "\n", 0o600, ""},
		"base64":      {base64.StdEncoding.EncodeToString(raw) + "\r\n", 0o400, ""},
		"base64url":   {base64.RawURLEncoding.EncodeToString(raw), 0o600, ""},
		"too short":   {hex.EncodeToString(raw[1:]), 0o600, "does not hold 32 bytes"},
		"too long":    {hex.EncodeToString(raw) + "00", 0o600, "does not hold 32 bytes"},
		"empty":       {"", 0o600, "does not hold 32 bytes"},
		"open":        {hex.EncodeToString(raw), 0o644, "run `chmod 600 "},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "kek")
			if err := os.WriteFile(path, []byte(test.text), test.mode); err != nil {
				t.Fatal(err)
			}
			got, err := keys.ReadKEK(path)
			if test.want == "" && (err != nil || !bytes.Equal(got[:], raw)) {
				t.Errorf("ReadKEK = %v, %v, want the key", got, err)
			}
			if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("ReadKEK = %v, want ...%s...", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), hex.EncodeToString(raw[2:])) {
				t.Errorf("ReadKEK = %v, want no key in the message", err)
			}
		})
	}
	if _, err := keys.ReadKEK(filepath.Join(t.TempDir(), "kek")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadKEK = %v, want %v", err, fs.ErrNotExist)
	}
}

func TestCreateKEKInParallel(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	path := filepath.Join(dir, "kek")
	got := parallel(t, 8, func() ([32]byte, error) { return keys.CreateKEK(path) })
	if want, err := keys.ReadKEK(path); err != nil || got != want || got == ([32]byte{}) {
		t.Errorf("ReadKEK = %v, want what CreateKEK returned", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, %v, want 0600", info.Mode(), err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("folder holds %v, want the key alone", files)
	}
}

func TestClusterSecret(t *testing.T) {
	ctx, store, sealer := context.Background(), openStore(t), keys.NewSealer(kek)
	first := parallel(t, 8, func() ([32]byte, error) { return keys.ClusterSecret(ctx, store, sealer, nil) })
	if again, err := keys.ClusterSecret(ctx, store, sealer, nil); err != nil || again != first || first == ([32]byte{}) {
		t.Errorf("ClusterSecret again = %v, want the same secret", err)
	}
	if sealed, err := store.Secret(ctx, "cluster-secret"); err != nil || bytes.Contains(sealed, first[:]) {
		t.Errorf("Secret = %v, want it sealed", err)
	}
	if _, err := keys.ClusterSecret(ctx, store, keys.NewSealer([32]byte{9}), nil); !errors.Is(err, keys.ErrWrongKey) {
		t.Errorf("ClusterSecret under another key = %v, want %v", err, keys.ErrWrongKey)
	}
	store.Close()
	if _, err := keys.ClusterSecret(ctx, store, sealer, nil); err == nil || errors.Is(err, keys.ErrWrongKey) {
		t.Errorf("ClusterSecret without a store = %v, want the store's error", err)
	}
}

func TestClusterSecretWithoutRandomness(t *testing.T) {
	store := openStore(t)
	if _, err := keys.ClusterSecret(context.Background(), store, keys.NewSealer(kek), strings.NewReader("short")); err == nil {
		t.Error("ClusterSecret = nil, want an error")
	}
	if _, err := store.Secret(context.Background(), "cluster-secret"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Secret = %v, want %v", err, storage.ErrNotFound)
	}
}

// RFC 5869 §2, computed with openssl kdf -kdfopt digest:SHA256 -kdfopt hexkey:00..1f -kdfopt info:nonce HKDF.
func TestDerive(t *testing.T) {
	var secret [32]byte
	for i := range secret {
		secret[i] = byte(i)
	}
	const want = "460217f90f821a82ed2ebd9e4c29c5d6b46889fc4f7b2b43f2deef93647c99ad"
	got := keys.Derive(secret, "nonce")
	if got := hex.EncodeToString(got[:]); got != want {
		t.Errorf("Derive = %s, want %s", got, want)
	}
	if got == keys.Derive(secret, "refresh") {
		t.Error("Derive of two labels = one key, want two")
	}
}

// parallel calls f n times at once and returns its one answer.
func parallel[T comparable](t *testing.T, n int, f func() (T, error)) T {
	t.Helper()
	answers := make([]T, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			var err error
			if answers[i], err = f(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, a := range answers {
		if a != answers[0] {
			t.Fatalf("answers differ: %v, %v", a, answers[0])
		}
	}
	return answers[0]
}
