package client

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/imidentity/issuer/dpop"
)

// A Session is the state of a login: the issuer, the key of the device, and the tokens.
type Session struct {
	Issuer   string `json:"issuer"`
	ClientID string `json:"client_id"`
	// Key is the private key of the device, PKCS #8 in PEM.
	Key          string `json:"key"`
	RefreshToken string `json:"refresh_token,omitempty"`
	AccessToken  string `json:"access_token"`
	// ExpiresAt is when the access token expires, by the clock of this machine.
	ExpiresAt time.Time `json:"expires_at"`
	Scope     string    `json:"scope,omitempty"`
}

// NewSession returns a session without tokens.
func NewSession(issuer, clientID string, key crypto.Signer) (Session, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Session{}, fmt.Errorf("client: write the key: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return Session{Issuer: issuer, ClientID: clientID, Key: string(text)}, nil
}

// Signer returns a signer of proofs with the key.
func (s *Session) Signer() (*dpop.Signer, error) {
	key, err := s.PrivateKey()
	if err != nil {
		return nil, err
	}
	return dpop.NewSigner(key, "")
}

// PrivateKey returns the key of the device.
func (s *Session) PrivateKey() (crypto.Signer, error) {
	block, _ := pem.Decode([]byte(s.Key))
	if block == nil {
		return nil, errors.New("client: the key of the session is not in PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("client: the key of the session is not in PKCS #8")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("client: the key of the session cannot sign")
	}
	return signer, nil
}

// Take stores tokens that were received at the time now.
func (s *Session) Take(t Tokens, now time.Time) {
	s.AccessToken, s.ExpiresAt, s.Scope = t.AccessToken, now.Add(time.Duration(t.ExpiresIn)*time.Second).UTC().Truncate(time.Second),
		t.Scope
	if t.RefreshToken != "" { // RFC 6749 §6: without a new one, the old one stays
		s.RefreshToken = t.RefreshToken
	}
}

// A SessionError says why a file is not a valid session file.
type SessionError struct{ Path, Reason string }

func (e *SessionError) Error() string { return e.Path + " " + e.Reason }

const maxSession = 256 << 10

// ReadSession reads the session file at path. The error is [io/fs.ErrNotExist] if there is none, and a [*SessionError] if others
// than its owner have access, or if it has no session.
func ReadSession(path string) (Session, error) {
	f, err := os.Open(path)
	if err != nil {
		return Session{}, err
	}
	defer func() { _ = f.Close() }() // only read
	return readSession(f)
}

func readSession(f *os.File) (s Session, err error) {
	info, err := f.Stat()
	switch {
	case err != nil:
		return s, err
	case !info.Mode().IsRegular():
		return s, &SessionError{f.Name(), "is not a file"}
	case info.Mode().Perm()&0o077 != 0:
		return s, &SessionError{f.Name(), fmt.Sprintf("is open to others than its owner (mode %04o): run `chmod 600 %s`; "+
			"if somebody may have read it, log out and in again",
			info.Mode().Perm(), f.Name())}
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSession))
	if err != nil {
		return s, err
	}
	if json.Unmarshal(text, &s) != nil || s.Issuer == "" || s.ClientID == "" || s.AccessToken == "" {
		return Session{}, &SessionError{f.Name(), "is not a session file"}
	}
	if _, err := s.Signer(); err != nil {
		return Session{}, &SessionError{f.Name(), "is not a session file: its key cannot be read"}
	}
	return s, nil
}

// WriteSession writes s to the file at path, atomically and with mode 0600. It creates missing folders.
func WriteSession(path string, s Session) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("client: write the session: %w", err)
	}
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("client: write the session: %w", err)
	}
	temp, err := os.CreateTemp(folder, ".session-*") // mode 0600
	if err != nil {
		return fmt.Errorf("client: write the session: %w", err)
	}
	_, err = temp.Write(append(text, '\n'))
	if err = errors.Join(err, temp.Sync(), temp.Close()); err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("client: write the session: %w", errors.Join(err, os.Remove(temp.Name())))
	}
	return syncFolder(folder)
}

// syncFolder makes a new name in a folder durable. After a crash, an older refresh token than the one used last would end the
// session.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("client: write the session: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}

// A HeldSession is a locked session file: no other process changes it until it is released.
type HeldSession struct {
	Session
	path string
	file *os.File // locked
}

// HoldSession waits until no other process holds the session file at path, locks it, and reads it like [ReadSession]. If ctx ends
// first, it returns the error of ctx.
func HoldSession(ctx context.Context, path string) (*HeldSession, error) {
	for {
		held, err := holdSession(path)
		if err == nil || !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, errReplaced) {
			return held, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// errReplaced means that the locked file is not the session file any more: its holder wrote another one.
var errReplaced = errors.New("client: the session file was replaced")

func holdSession(path string) (_ *HeldSession, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("client: lock the session: %w", err)
	}
	mine, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if there, err := os.Stat(path); err != nil {
		return nil, err
	} else if !os.SameFile(mine, there) {
		return nil, errReplaced
	}
	s, err := readSession(f)
	if err != nil {
		return nil, err
	}
	return &HeldSession{Session: s, path: path, file: f}, nil
}

// Save writes the session. Only Release may follow.
func (h *HeldSession) Save() error { return WriteSession(h.path, h.Session) }

// Remove removes the session file.
func (h *HeldSession) Remove() error { return os.Remove(h.path) }

// Release lets others hold the session.
func (h *HeldSession) Release() { _ = h.file.Close() } // only read; closing it ends the lock
