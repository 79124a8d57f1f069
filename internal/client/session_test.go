package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/client"
)

func newSession(t *testing.T) client.Session {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := client.NewSession("https://im-id.example.com", "im-app", key)
	if err != nil {
		t.Fatal(err)
	}
	s.Take(client.Tokens{AccessToken: "access", RefreshToken: "refresh", ExpiresIn: 600, Scope: "im:handle"}, time.Now())
	return s
}

func TestSessionRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "session.json")
	want := newSession(t)
	for range 2 { // over nothing, and over itself
		if err := client.WriteSession(path, want); err != nil {
			t.Fatal(err)
		}
		got, err := client.ReadSession(path)
		if err != nil || got != want {
			t.Errorf("ReadSession = %+v, %v, want %+v", got, err, want)
		}
	}
	for name, mode := range map[string]fs.FileMode{path: 0o600, filepath.Dir(path): fs.ModeDir | 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode() != mode {
			t.Errorf("mode of %s = %v, %v, want %v", filepath.Base(name), info.Mode(), err, mode)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("the folder holds %v, %v, want the session alone", left, err)
	}
	signer, err := want.Signer()
	if err != nil || len(signer.JKT()) != 43 {
		t.Errorf("Signer = %v, want the key's", err)
	}
}

// The refresh token stays where the answer brings no new one (RFC 6749 §6).
func TestSessionTake(t *testing.T) {
	s := newSession(t)
	s.Take(client.Tokens{AccessToken: "next", ExpiresIn: 60}, time.Unix(1000, 0))
	if s.AccessToken != "next" || s.RefreshToken != "refresh" || !s.ExpiresAt.Equal(time.Unix(1060, 0)) {
		t.Errorf("session = %+v, want the new access token until 1060 and the old refresh token", s)
	}
}

func TestSessionRefused(t *testing.T) {
	folder := t.TempDir()
	good := newSession(t)
	write := func(name, text string, mode fs.FileMode) {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(folder, name), mode); err != nil { // whatever the umask
			t.Fatal(err)
		}
	}
	if err := client.WriteSession(filepath.Join(folder, "good"), good); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(folder, "good"))
	if err != nil {
		t.Fatal(err)
	}
	write("group", string(text), 0o640)
	write("world", string(text), 0o602)
	write("empty", "", 0o600)
	write("half", string(text[:len(text)/2]), 0o600)
	write("no key", strings.Replace(string(text), "BEGIN PRIVATE KEY", "BEGIN", 1), 0o600)
	write("other key", strings.Replace(string(text), "MIG", "AAA", 1), 0o600)
	write("no issuer", strings.Replace(string(text), good.Issuer, "", 1), 0o600)
	if err := os.Mkdir(filepath.Join(folder, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"group", "world", "empty", "half", "no key", "other key", "no issuer", "folder"} {
		var refused *client.SessionError
		if s, err := client.ReadSession(filepath.Join(folder, name)); !errors.As(err, &refused) || s.AccessToken != "" {
			t.Errorf("%s: ReadSession = %v, want a SessionError and no session", name, err)
		}
		if _, err := client.HoldSession(t.Context(), filepath.Join(folder, name)); !errors.As(err, &refused) {
			t.Errorf("%s: HoldSession = %v, want a SessionError", name, err)
		} else if strings.Contains(err.Error(), "PRIVATE") || strings.Contains(err.Error(), "refresh") {
			t.Errorf("%s: HoldSession = %v, which shows secrets", name, err)
		}
	}
	if _, err := client.HoldSession(t.Context(), filepath.Join(folder, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("HoldSession of none = %v, want %v", err, fs.ErrNotExist)
	}
}

// One at a time changes a session, though each puts a new file in the place of the old one: nothing is lost.
func TestHoldSession(t *testing.T) {
	path := filepath.Join(t.TempDir(), "session.json")
	s := newSession(t)
	s.AccessToken = "x"
	if err := client.WriteSession(path, s); err != nil {
		t.Fatal(err)
	}
	const n = 20
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			held, err := client.HoldSession(t.Context(), path)
			if err != nil {
				t.Error(err)
				return
			}
			defer held.Release()
			held.AccessToken += "x"
			if err := held.Save(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got, err := client.ReadSession(path); err != nil || len(got.AccessToken) != 1+n {
		t.Errorf("after %d changes = %d, %v, want one letter for each", n, len(got.AccessToken), err)
	}

	held, err := client.HoldSession(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := client.HoldSession(short, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("HoldSession of a held one = %v, want %v", err, context.DeadlineExceeded)
	}
	waited := make(chan error)
	go func() {
		_, err := client.HoldSession(t.Context(), path)
		waited <- err
	}()
	if err := held.Remove(); err != nil {
		t.Fatal(err)
	}
	held.Release()
	if err := <-waited; !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("HoldSession of one that was removed meanwhile = %v, want %v", err, fs.ErrNotExist)
	}
}
