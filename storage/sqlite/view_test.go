package sqlite_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
)

// TestFaultWithinAView: a read that fails ends the view, even if its error is ignored. The connection serves the next one.
func TestFaultWithinAView(t *testing.T) {
	path := filepath.Join(t.TempDir(), "issuer.db")
	if err := open(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	raw(t, path, "DROP TABLE pushed")
	s, err := sqlite.Open(t.Context(), path, sqlite.Options{Readers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	put(t, s, "a", "a")
	for range 3 {
		err := s.View(t.Context(), func(ctx context.Context, r storage.Reader) error {
			if _, err := r.Secret(ctx, "a"); err != nil {
				t.Errorf("Secret = %v, want nil", err)
			}
			_, fault := r.Pushed(ctx, [32]byte{})
			if fault == nil || fault == storage.ErrNotFound {
				t.Errorf("Pushed of a table that is gone = %v, want a fault", fault)
			}
			if _, err := r.Secret(ctx, "a"); err != fault {
				t.Errorf("Secret after a fault = %v, want %v", err, fault)
			}
			return nil
		})
		if err == nil {
			t.Error("View = nil, want the fault")
		}
	}
	err = s.View(t.Context(), func(ctx context.Context, r storage.Reader) error {
		_, err := r.Secret(ctx, "a")
		return err
	})
	if err != nil {
		t.Errorf("View = %v, want nil", err)
	}
}

// TestViewsWaitForAConnection: more views than connections wait for each other, and one that waits gives up with its context.
func TestViewsWaitForAConnection(t *testing.T) {
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "issuer.db"), sqlite.Options{Readers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	nothing := func(context.Context, storage.Reader) error { return nil }
	waiting, cancel := context.WithCancel(t.Context())
	gaveUp, served := make(chan error), make(chan error)
	err = s.View(t.Context(), func(context.Context, storage.Reader) error {
		go func() { gaveUp <- s.View(waiting, nothing) }()
		go func() { served <- s.View(t.Context(), nothing) }()
		cancel()
		if err := <-gaveUp; err != context.Canceled {
			t.Errorf("View that waits when its context ends = %v, want %v", err, context.Canceled)
		}
		return nil
	})
	if err != nil {
		t.Errorf("View = %v, want nil", err)
	}
	if err := <-served; err != nil {
		t.Errorf("View that waited = %v, want nil", err)
	}
}
