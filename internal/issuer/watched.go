package issuer

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"sync"

	"github.com/imidentity/issuer/internal/secretfile"
)

// A watched is a certificate and its key in files that may change. If the new content is not valid, that of before stays in use.
type watched struct {
	certFile, keyFile string
	// use makes the content of the files the one in use. The error may be that of reading them.
	use func(cert, key []byte, err error) error

	mu    sync.Mutex
	tried [sha256.Size]byte // of the files when they were last used
	seen  [sha256.Size]byte // of the files when they were last checked
}

// look uses changed files once they have been unchanged for one interval, because two files are not written at once.
func (w *watched) look(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	cert, key, err := w.files()
	now := fingerprint(cert, key, err)
	settled := now == w.seen
	w.seen = now
	if settled && now != w.tried {
		_ = w.try(cert, key, err) // it logs the error
	}
	return nil
}

// reload reads the files now. If they are not valid, it logs the error and the previous certificate stays in use.
func (w *watched) reload() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	cert, key, err := w.files()
	w.seen = fingerprint(cert, key, err)
	return w.try(cert, key, err)
}

// try uses the content of the files.
func (w *watched) try(cert, key []byte, err error) error {
	w.tried = fingerprint(cert, key, err)
	return w.use(cert, key, err)
}

// files reads certificate and key. It refuses a key that others have access to.
func (w *watched) files() (cert, key []byte, err error) {
	if cert, err = os.ReadFile(w.certFile); err != nil {
		return nil, nil, err
	}
	key, err = secretfile.Read(w.keyFile)
	return cert, key, err
}

// fingerprint identifies the content of the files, or the error of reading them.
func fingerprint(cert, key []byte, err error) [sha256.Size]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%d %v\n", len(cert), err)
	h.Write(cert)
	h.Write(key)
	return [sha256.Size]byte(h.Sum(nil))
}
