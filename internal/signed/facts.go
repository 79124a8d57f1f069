package signed

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/xsign"
)

const (
	// factAge is how long a fact about a user may be behind what another node has stored.
	factAge = 5 * time.Second
	// factsKept is how many users each of the two generations of facts has.
	factsKept = 10_000
)

// A fact is what introspection tells about the cross signing of a user. It is shared: nothing changes it.
type fact struct {
	sum    [sha256.Size]byte // of the statements that it was read from
	master string            // empty if the user has no keys
	seq    int64             // of the device list, zero if there is none
	listed map[listing]struct{}
}

// A listing is a key of a device in a list.
type listing struct{ device, jkt string }

type person struct{ domain, user string }

type aged struct {
	*fact
	until time.Time
}

// Facts are those of users that were asked about recently, in two generations: when the young one is full, the old one is dropped. So a
// question about a token that was asked about before costs no read, and verifies no statement.
type facts struct {
	mu         sync.RWMutex
	young, old map[person]aged
}

func newFacts() *facts { return &facts{young: make(map[person]aged)} }

func (f *facts) get(p person) (aged, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	a, ok := f.young[p]
	if !ok {
		a, ok = f.old[p]
	}
	return a, ok
}

func (f *facts) put(p person, a aged) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.young) >= factsKept {
		f.old, f.young = f.young, make(map[person]aged)
	}
	f.young[p] = a
}

// forget makes the next question about a user read what is stored.
func (f *facts) forget(domain, user string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := person{domain, user}
	for _, of := range []map[person]aged{f.young, f.old} {
		if a, ok := of[p]; ok {
			a.until = time.Time{}
			of[p] = a
		}
	}
}

// CrossSigned returns what is stored about the cross signing of the device and the key of a token: nil if the user has stored no keys.
// It is at most [factAge] old. When the store cannot be read, it returns what was known before, and nil if nothing was: an answer that
// lacks it says nothing. See [introspect.CrossSigning].
func (s *Service) CrossSigned(ctx context.Context, t introspect.Token, jkt string) *introspect.XSign {
	p := person{t.Domain, t.User}
	now := s.cfg.Now()
	known, ok := s.facts.get(p)
	if !ok || !now.Before(known.until) || known.until.Sub(now) > factAge { // or the clock was set back
		fresh, err := s.fact(ctx, p, known.fact)
		if err == nil {
			known.fact = fresh
		}
		known.until = now.Add(factAge)
		s.facts.put(p, known)
	}
	if known.fact == nil || known.master == "" {
		return nil
	}
	_, listed := known.listed[listing{t.Device, jkt}]
	return &introspect.XSign{Master: known.master, Seq: known.seq, Listed: listed}
}

// fact reads the statements of a user. They are parsed unless they are those of the fact before.
func (s *Service) fact(ctx context.Context, p person, before *fact) (*fact, error) {
	var b set
	err := s.cfg.Store.View(ctx, func(ctx context.Context, r storage.Reader) (err error) {
		b = set{}
		b.keys, err = r.SignedDocument(ctx, p.domain, p.user, storage.DocumentKeys, "")
		if err != nil {
			return err
		}
		b.devices, err = r.SignedDocument(ctx, p.domain, p.user, storage.DocumentDevices, "")
		if errors.Is(err, storage.ErrNotFound) {
			err = nil
		}
		return err
	})
	if errors.Is(err, storage.ErrNotFound) {
		return &fact{}, nil
	} else if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(b.keys.Content + "\n" + b.devices.Content))
	if before != nil && before.sum == sum {
		return before, nil
	}
	k, err := xsign.ParseKeys(b.keys.Content)
	if err != nil {
		return nil, err
	}
	f := &fact{sum: sum, listed: make(map[listing]struct{})}
	if f.master, err = xsign.Thumbprint(k.Master); err != nil || b.devices.Content == "" {
		return f, err
	}
	d, err := xsign.ParseDevices(b.devices.Content, k.DeviceSigning)
	if err != nil {
		return nil, err
	}
	f.seq = d.Seq
	for _, one := range d.Devices {
		for _, key := range one.Keys {
			f.listed[listing{one.ID.Device(), key}] = struct{}{}
		}
	}
	return f, nil
}
