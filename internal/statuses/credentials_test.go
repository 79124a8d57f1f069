package statuses_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/statuses"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/storage"
)

const month = 30 * 24 * time.Hour

// takeCredential returns the next entry for a credential of a domain.
func (w *world) takeCredential(domain string) storage.StatusEntry {
	w.t.Helper()
	for range 2 {
		if e, ok := w.TakeCredential(domain); ok {
			return e
		}
		if err := w.FillCredential(w.t.Context(), domain); err != nil {
			w.t.Fatal(err)
		}
	}
	w.t.Fatal("no entry after FillCredential")
	return storage.StatusEntry{}
}

// person stores a user with a device.
func (w *world) person(id string) {
	w.t.Helper()
	w.update(func(ctx context.Context, tx storage.Tx) error {
		return errors.Join(
			tx.InsertUser(ctx, storage.User{Domain: "example.com", ID: id, Handle: id, Gen: 1, CreatedAt: w.now()}),
			tx.InsertDevice(ctx, storage.Device{Domain: "example.com", ID: id, User: id, JKT: id, CreatedAt: w.now()}),
		)
	})
}

// issue stores a credential of a person, with an entry.
func (w *world) issue(id, user string) storage.Credential {
	w.t.Helper()
	c := storage.Credential{ID: id, Domain: "example.com", User: user, Device: user, Format: "f", JKT: user, Handle: user,
		Status: w.takeCredential("example.com"), IssuedAt: w.now(), ExpiresAt: w.now().Add(month)}
	w.update(func(ctx context.Context, tx storage.Tx) error { return tx.InsertCredential(ctx, c) })
	return c
}

// act changes something and writes a revocation with it, as a request does.
func (w *world) act(r storage.Revocation, fn func(ctx context.Context, tx storage.Tx) error) {
	w.t.Helper()
	var row storage.Revocation
	w.update(func(ctx context.Context, tx storage.Tx) (err error) {
		row, err = tx.Revoke(ctx, r)
		return errors.Join(err, fn(ctx, tx))
	})
	w.mirror.Apply(row)
}

func (w *world) cause() revocation.Cause { return revocation.Cause{Reason: "test", At: w.now()} }

// endCredential ends a credential.
func (w *world) endCredential(id string) {
	w.t.Helper()
	w.act(revocation.RevokeToken(id, w.cause()), func(ctx context.Context, tx storage.Tx) error {
		_, err := tx.EndCredentials(ctx, storage.CredentialsOf{ID: id}, w.now(), "test")
		return err
	})
}

// sweep removes what expired.
func (w *world) sweep() {
	w.t.Helper()
	for from := (storage.SweepPosition{}); ; {
		w.update(func(ctx context.Context, tx storage.Tx) (err error) {
			from, _, err = tx.Sweep(ctx, w.now(), storage.Retention{}, from, 100)
			return err
		})
		if from == (storage.SweepPosition{}) {
			return
		}
	}
}

// Entries for credentials are given once, and come from other lists than those for sessions.
func TestTakeCredentialOnce(t *testing.T) {
	w := open(t, "example.com", "example.org")
	var mu sync.Mutex
	seen := make(map[storage.StatusEntry]bool)
	kinds := make(map[int64]string)
	for range 3 {
		var all sync.WaitGroup
		for i := range 8 {
			domain := []string{"example.com", "example.org"}[i%2]
			take, fill, kind := w.Take, w.Fill, "sessions of "
			if i%4 > 1 {
				take, fill, kind = w.TakeCredential, w.FillCredential, "credentials of "
			}
			all.Go(func() {
				for taken := 0; taken < 150; {
					e, ok := take(domain)
					if !ok {
						if err := fill(t.Context(), domain); err != nil {
							t.Error(err)
							return
						}
						continue
					}
					taken++
					mu.Lock()
					if seen[e] {
						t.Errorf("the entry %+v was given twice", e)
					}
					if kinds[e.List] != "" && kinds[e.List] != kind+domain {
						t.Errorf("the list %d is for %s%s and for %s", e.List, kind, domain, kinds[e.List])
					}
					seen[e], kinds[e.List] = true, kind+domain
					mu.Unlock()
				}
			})
		}
		all.Wait()
		w.restart("example.com", "example.org")
	}
	if len(seen) != 3*8*150 {
		t.Errorf("%d entries, want %d", len(seen), 3*8*150)
	}
}

// The entry of a credential shows its end at once, for as long as it would have been valid, whatever becomes of its rows.
func TestCredentials(t *testing.T) {
	w := open(t, "example.com")
	for _, name := range []string{"alice", "bob", "carol", "dave", "erin"} {
		w.person(name)
	}
	ended, removed, left, renamed, good := w.issue("1", "alice"), w.issue("2", "bob"), w.issue("3", "carol"), w.issue("4", "dave"), w.issue("5", "erin")
	expect := func(want ...statuslist.Status) {
		t.Helper()
		for i, c := range []storage.Credential{ended, removed, left, renamed, good} {
			w.expect(c.Status, want[i])
		}
	}
	const valid, invalid, handle = statuslist.Valid, statuslist.Invalid, statuslist.Application
	expect(valid, valid, valid, valid, valid)
	w.endCredential("1")
	expect(invalid, valid, valid, valid, valid)
	w.act(revocation.RevokeDevice("example.com", "bob", w.cause()), func(ctx context.Context, tx storage.Tx) error {
		d, err := tx.Device(ctx, "example.com", "bob")
		d.RemovedAt = w.now()
		return errors.Join(err, tx.UpdateDevice(ctx, d))
	})
	expect(invalid, invalid, valid, valid, valid)
	w.act(revocation.RevokeUser("example.com", "carol", w.cause()), func(ctx context.Context, tx storage.Tx) error {
		r := storage.Removal{Domain: "example.com", User: "carol", At: w.now()}
		more, err := true, tx.BeginRemoval(ctx, r)
		for more && err == nil {
			more, err = tx.ContinueRemoval(ctx, r, 100)
		}
		return err
	})
	expect(invalid, invalid, invalid, valid, valid)
	w.act(revocation.RevokeBelow("example.com", "dave", 2, w.cause()), func(ctx context.Context, tx storage.Tx) error {
		u, err := tx.User(ctx, "example.com", "dave")
		u.Handle, u.Gen = "david", 2
		return errors.Join(err, tx.UpdateUser(ctx, u))
	})
	expect(invalid, invalid, invalid, handle, valid)

	token := w.get(good.Status)
	if token.Issuer != home || token.Subject != w.Reference(good.Status).URI || token.List.Bits() != 2 || !token.IssuedAt.Equal(w.now()) ||
		token.TTL != 5*time.Minute || !token.Expires.Equal(w.now().Add(24*time.Hour)) {
		t.Errorf("the list = %+v", token.Token)
	}
	w.restart("example.com") // another process
	expect(invalid, invalid, invalid, handle, valid)
	w.endCredential("4")
	expect(invalid, invalid, invalid, invalid, valid)

	w.add(month + storage.CredentialGrace - time.Minute)
	w.sweep()
	expect(invalid, invalid, invalid, invalid, valid)
	w.add(2 * time.Minute)
	w.sweep()
	w.add(time.Hour) // the entries of expired credentials mean nothing, and are valid again when the list is made anew
	expect(valid, valid, valid, valid, valid)
	w.add(month * 4)
	w.sweep()
	if _, err := w.Get(t.Context(), idOf(w.Lists, good.Status)); !errors.Is(err, statuses.ErrNotFound) {
		t.Errorf("Get of an expired list = %v, want %v", err, statuses.ErrNotFound)
	}
}

// What ends on one node is in the list of every other as soon as that knows the revocation.
func TestCredentialsOnAnotherNode(t *testing.T) {
	w := open(t, "example.com")
	w.person("alice")
	c := w.issue("1", "alice")
	mirror := revocation.NewMirror(revocation.Config{Source: w.store, Now: w.now})
	if err := mirror.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	other, err := statuses.New(statuses.Config{Issuer: home, SessionLife: time.Hour, Store: w.store, Keys: w, Revocations: mirror, Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	status := func() statuslist.Status {
		t.Helper()
		signed, err := other.Get(t.Context(), idOf(w.Lists, c.Status))
		if err != nil {
			t.Fatal(err)
		}
		token, err := statuslist.Parse(string(signed.Token), statuslist.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := token.List.At(uint64(c.Status.Index))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := status(); s != statuslist.Valid {
		t.Errorf("the status = %v, want valid", s)
	}
	w.endCredential("1")
	if err := mirror.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := status(); s != statuslist.Invalid {
		t.Errorf("the status on another node = %v, want invalid", s)
	}
}

// A counting store counts the ends that it returns.
type counting struct {
	storage.Store
	reads, ends atomic.Int64
}

func (c *counting) CredentialEnds(ctx context.Context, list, after int64) ([]storage.CredentialEnd, error) {
	ends, err := c.Store.CredentialEnds(ctx, list, after)
	c.reads.Add(1)
	c.ends.Add(int64(len(ends)))
	return ends, err
}

// A list reads what ended since it was made, and nothing else. It is signed again only if that changed it.
func TestCredentialEndsAreReadOnce(t *testing.T) {
	w := open(t, "example.com")
	store := &counting{Store: w.store}
	w.store = store
	w.restart("example.com")
	w.person("alice")
	var list []storage.Credential
	for i := range 40 {
		list = append(list, w.issue(fmt.Sprint(i), "alice"))
	}
	for i := range 30 {
		w.endCredential(fmt.Sprint(i))
	}
	id := idOf(w.Lists, list[0].Status)
	etag := ""
	get := func(wantReads, wantEnds int64, wantSame bool) {
		t.Helper()
		store.reads.Store(0)
		store.ends.Store(0)
		signed, err := w.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if reads, ends := store.reads.Load(), store.ends.Load(); reads != wantReads || ends != wantEnds {
			t.Errorf("%d ends were read in %d reads, want %d in %d", ends, reads, wantEnds, wantReads)
		}
		if (signed.ETag == etag) != wantSame || signed.TTL != statuses.CredentialTTL {
			t.Errorf("ETag %s after %s with ttl %v, want the same: %v", signed.ETag, etag, signed.TTL, wantSame)
		}
		etag = signed.ETag
	}
	get(1, 30, false)
	get(0, 0, true)
	for i := range 20 { // of something else
		w.act(revocation.RevokeToken(fmt.Sprint("token ", i), w.cause()), func(context.Context, storage.Tx) error { return nil })
		get(1, 0, true)
	}
	w.endCredential("30")
	w.endCredential("31")
	get(1, 2, false)
	get(0, 0, true)
	w.add(time.Hour)
	get(1, 32, false) // it is made anew, and would else expire one day
	for i, c := range list {
		if status, err := w.get(c.Status).List.At(uint64(c.Status.Index)); err != nil || (status == statuslist.Invalid) != (i < 32) {
			t.Errorf("the status of %d = %v, %v", i, status, err)
		}
	}
}

// While the store fails, the list that was made before is not served as if nothing had ended; then nothing is missing.
func TestCredentialsWhileTheStoreFails(t *testing.T) {
	w := open(t, "example.com")
	fault := errors.New("fault")
	var failing atomic.Bool
	w.store = storage.Intercepted{Store: w.store, Fail: func(op string) error {
		if op == "CredentialEnds" && failing.Load() {
			return fault
		}
		return nil
	}}
	w.restart("example.com")
	w.person("alice")
	c, other := w.issue("1", "alice"), w.issue("2", "alice")
	w.expect(c.Status, statuslist.Valid)
	w.endCredential("1")
	failing.Store(true)
	if _, err := w.Get(t.Context(), idOf(w.Lists, c.Status)); !errors.Is(err, fault) {
		t.Errorf("Get = %v, want %v", err, fault)
	}
	failing.Store(false)
	w.expect(c.Status, statuslist.Invalid)
	w.expect(other.Status, statuslist.Valid)
}

// All entries of a list that ended have ended.
func TestEndedCredentialList(t *testing.T) {
	w := open(t, "example.com")
	row := storage.StatusList{ID: 7, Kind: storage.CredentialStatuses, Domain: "example.com", Size: 1024, Available: 768, Used: 768,
		CreatedAt: w.now(), ExpiresAt: w.now().Add(month), EndedAt: w.now()}
	w.update(func(ctx context.Context, tx storage.Tx) error { return tx.InsertStatusList(ctx, row) })
	for i, status := range statusesOf(t, w.get(storage.StatusEntry{List: 7}).List) {
		if status != statuslist.Invalid {
			t.Fatalf("the status of %d = %v, want invalid", i, status)
		}
	}
}

// Decoys end as credentials do, and the handles of some do, a bounded number each day. Entries that are given never do, and an entry that
// was not given looks like a valid one.
func TestCredentialDecoys(t *testing.T) {
	w := open(t, "example.com")
	given := make(map[int]bool)
	var e storage.StatusEntry
	for range 768 {
		e = w.takeCredential("example.com")
		given[e.Index] = true
	}
	now := make(map[int]statuslist.Status)
	began, restored, handles := 0, 0, 0
	for i, status := range statusesOf(t, w.get(e).List) {
		if status != statuslist.Valid {
			now[i] = status
		}
	}
	for range 20 {
		w.add(24 * time.Hour)
		today := 0
		for i, status := range statusesOf(t, w.get(e).List) {
			switch {
			case status != statuslist.Valid && given[i]:
				t.Fatalf("the entry %d was given and is a decoy", i)
			case status != statuslist.Valid && status != statuslist.Invalid && status != statuslist.Application:
				t.Fatalf("the status of %d = %v", i, status)
			case now[i] == statuslist.Valid && status != statuslist.Valid:
				today++
				if status == statuslist.Application {
					handles++
				}
			case now[i] != statuslist.Valid && status == statuslist.Valid:
				restored++
			}
			now[i] = status
		}
		if began += today; today > 2*36 {
			t.Errorf("%d decoys ended in a day", today)
		}
	}
	if began < 20 || restored < 20 || handles == 0 || handles > began/2 {
		t.Errorf("%d decoys ended in 20 days, of %d only the handle; %d expired", began, handles, restored)
	}
}

// Each list that is fetched after an end was acknowledged shows it, however ends and requests race.
func TestCredentialsRaced(t *testing.T) {
	const enders, each = 4, 20
	w := open(t, "example.com")
	w.person("alice")
	var list []storage.Credential
	for i := range enders * each {
		list = append(list, w.issue(fmt.Sprint(i), "alice"))
	}
	var acknowledged [enders * each]atomic.Bool
	var done atomic.Int32
	var all sync.WaitGroup
	for i := range enders {
		all.Go(func() {
			defer done.Add(1)
			for n := range each {
				w.endCredential(fmt.Sprint(i*each + n))
				acknowledged[i*each+n].Store(true)
			}
		})
	}
	for range 3 {
		all.Go(func() {
			for finished := false; !finished; {
				finished = done.Load() == enders // then this is the last look
				var before [enders * each]bool
				for i := range acknowledged {
					before[i] = acknowledged[i].Load()
				}
				got := w.get(list[0].Status)
				for i, c := range list {
					if status, err := got.List.At(uint64(c.Status.Index)); err != nil || before[i] && status != statuslist.Invalid {
						t.Errorf("the status of %d = %v, %v after its end", i, status, err)
					}
				}
			}
		})
	}
	all.Wait()
}
