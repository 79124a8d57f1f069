package oauth_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/keys"
)

// errFire is what fails.
var errFire = errors.New("disk on fire")

// faults lets tests fail what an issuer asks of others, or act just before it: the operations of the store by the names of their
// methods, Epoch and Spend of the store of spent proofs, Sign, SignCWT, Key and Speaks of the key sources, and
// Random.
type faults struct {
	mu   sync.Mutex
	hook func(op string) error // nil if nothing fails
}

func (f *faults) set(hook func(op string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

func (f *faults) before(op string) error {
	f.mu.Lock()
	hook := f.hook
	f.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(op)
}

// once runs act just before the next operation of a name.
func (f *faults) once(name string, act func()) {
	f.set(func(op string) error {
		if op == name {
			f.set(nil)
			act()
		}
		return nil
	})
}

// Read makes faults a source of random bytes.
func (f *faults) Read(b []byte) (int, error) {
	if err := f.before("Random"); err != nil {
		return 0, err
	}
	return rand.Read(b)
}

// A signer signs access tokens unless it fails.
type signer struct {
	ring   *keys.Ring
	faults *faults
}

func (s signer) Sign(typ string, claims []byte) (string, error) {
	if err := s.faults.before("Sign"); err != nil {
		return "", err
	}
	return s.ring.Sign(typ, claims)
}

// A replay is a store of spent proofs that may fail.
type replay struct {
	dpop.Replay
	faults *faults
}

func (r replay) Epoch(ctx context.Context) (dpop.Epoch, error) {
	if err := r.faults.before("Epoch"); err != nil {
		return dpop.Epoch{}, err
	}
	return r.Replay.Epoch(ctx)
}

func (r replay) Spend(ctx context.Context, e dpop.Epoch, key [32]byte, until time.Time, source netip.Addr) error {
	if err := r.faults.before("Spend"); err != nil {
		return err
	}
	return r.Replay.Spend(ctx, e, key, until, source)
}

// events are the audit events of an issuer.
type events struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (e *events) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.text.Write(b)
}

// take returns the events since the last call, without the fields that every line has.
func (e *events) take(t *testing.T) (list []map[string]any) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	lines := json.NewDecoder(&e.text)
	for lines.More() {
		var event map[string]any
		if err := lines.Decode(&event); err != nil {
			t.Fatal(err)
		}
		if event["audit"] != true {
			t.Errorf("the line %v is no audit event", event)
		}
		for _, name := range []string{"time", "level", "msg", "audit"} {
			delete(event, name)
		}
		list = append(list, event)
	}
	e.text.Reset()
	return list
}
