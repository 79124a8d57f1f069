package statuses_test

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/internal/statuses"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

const home = "https://id.example.net"

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// A world is the lists of an issuer on a real database, with a clock that is set by hand.
type world struct {
	*statuses.Lists
	t      testing.TB
	store  storage.Store
	mirror *revocation.Mirror
	at     atomic.Int64
	key    crypto.Signer
	signed atomic.Int32
	size   int // of new lists; 0 for the smallest
}

func (w *world) now() time.Time { return time.Unix(0, w.at.Load()).UTC() }

func (w *world) add(d time.Duration) {
	w.t.Helper()
	w.at.Add(int64(d))
	if err := w.mirror.Read(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) Sign(typ string, claims []byte) (string, error) {
	w.signed.Add(1)
	return jose.Sign(w.key, jose.ES256, []byte(`{"typ":"`+typ+`","alg":"ES256","kid":"k1"}`), claims)
}

func (w *world) Signer() (kid, alg string, signer crypto.Signer) { return "k1", jose.ES256, w.key }

// open opens a database and lists on it of the smallest size, of which 768 entries may be given.
func open(t testing.TB, domains ...string) *world {
	t.Helper()
	w := &world{t: t}
	w.at.Store(noon.UnixNano())
	db, err := sqlite.Open(t.Context(), sqlitetest.Temporary(t), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w.store = db
	w.mirror = revocation.NewMirror(revocation.Config{Source: db, Now: w.now})
	if w.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	w.restart(domains...)
	w.add(0)
	return w
}

// restart makes new lists on the same database, as another process does.
func (w *world) restart(domains ...string) {
	w.t.Helper()
	var err error
	w.Lists, err = statuses.New(statuses.Config{
		Issuer: home, Domains: domains, SessionLife: 24 * time.Hour, Credentials: domains, Store: w.store, Keys: w, Revocations: w.mirror,
		Size: cmp.Or(w.size, 1024), Now: w.now,
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// take returns the next entry of a domain.
func (w *world) take(domain string) storage.StatusEntry {
	w.t.Helper()
	for range 2 {
		if e, ok := w.Take(domain); ok {
			return e
		}
		if err := w.Fill(w.t.Context(), domain); err != nil {
			w.t.Fatal(err)
		}
	}
	w.t.Fatal("no entry after Fill")
	return storage.StatusEntry{}
}

// session stores a session with an entry.
func (w *world) session(id string, e storage.StatusEntry) {
	w.t.Helper()
	w.update(func(ctx context.Context, tx storage.Tx) error {
		return errors.Join(
			tx.InsertUser(ctx, storage.User{Domain: "example.com", ID: id, Handle: id, Gen: 1, CreatedAt: w.now()}),
			tx.InsertDevice(ctx, storage.Device{Domain: "example.com", ID: id, User: id, JKT: id, CreatedAt: w.now()}),
			tx.InsertGrant(ctx, storage.Grant{ID: id, Domain: "example.com", User: id, Device: id, JKT: id, Gen: 1, CreatedAt: w.now(), Status: e}),
		)
	})
}

func (w *world) update(fn func(ctx context.Context, tx storage.Tx) error) {
	w.t.Helper()
	if err := w.store.Update(w.t.Context(), fn); err != nil {
		w.t.Fatal(err)
	}
}

// end ends a session, as a request does.
func (w *world) end(id string) {
	w.t.Helper()
	var row storage.Revocation
	w.update(func(ctx context.Context, tx storage.Tx) (err error) {
		row, err = tx.Revoke(ctx, revocation.RevokeGrant(id, revocation.Cause{Reason: "test", At: w.now()}))
		return errors.Join(err, tx.EndGrant(ctx, id, w.now(), "test"))
	})
	w.mirror.Apply(row)
}

// get returns the list of an entry.
func (w *world) get(e storage.StatusEntry) *statuslist.Signed {
	w.t.Helper()
	signed, err := w.Get(w.t.Context(), idOf(w.Lists, e))
	if err != nil {
		w.t.Fatal(err)
	}
	token, err := statuslist.Parse(string(signed.Token), statuslist.Limits{})
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

func idOf(l *statuses.Lists, e storage.StatusEntry) string {
	return strings.TrimPrefix(l.Reference(e).URI, home+"/status/")
}

func (w *world) expect(e storage.StatusEntry, want statuslist.Status) {
	w.t.Helper()
	if got, err := w.get(e).List.At(uint64(e.Index)); got != want || err != nil {
		w.t.Errorf("the status of %+v = %v, %v, want %v", e, got, err, want)
	}
}

// Entries are given once: by many at a time, over the end of a list, and after restarts.
func TestTakeOnce(t *testing.T) {
	w := open(t, "example.com", "example.org")
	var mu sync.Mutex
	seen := make(map[storage.StatusEntry]string)
	lists := make(map[int64]int)
	for range 3 {
		var all sync.WaitGroup
		for i := range 8 {
			domain := []string{"example.com", "example.org"}[i%2]
			all.Go(func() {
				for taken := 0; taken < 150; {
					e, ok := w.Take(domain)
					if !ok {
						if err := w.Fill(t.Context(), domain); err != nil {
							t.Error(err)
							return
						}
						continue
					}
					taken++
					mu.Lock()
					if seen[e] != "" || e.List <= 0 || e.List > storage.MaxStatusListID || e.Index < 0 || e.Index >= 1024 {
						t.Errorf("the entry %+v of %s was given to %q", e, domain, seen[e])
					}
					seen[e] = domain
					lists[e.List]++
					mu.Unlock()
				}
			})
		}
		all.Wait()
		w.restart("example.com", "example.org")
	}
	if len(seen) != 3*8*150 || len(lists) < 4 {
		t.Errorf("%d entries of %d lists, want 3600 of several", len(seen), len(lists))
	}
	for list, n := range lists {
		if n > 768 {
			t.Errorf("%d entries of the list %d were given, want at most 768: the others are decoys", n, list)
		}
	}
}

// A block is not used for ever: its list is kept for the sessions that may begin within its life.
func TestBlockExpires(t *testing.T) {
	w := open(t, "example.com")
	first := w.take("example.com")
	w.add(7*24*time.Hour - time.Second)
	last := w.take("example.com")
	w.add(time.Second)
	if e, ok := w.Take("example.com"); ok {
		t.Errorf("Take after the life of the block = %+v", e)
	}
	w.take("example.com")
	row, err := w.store.StatusList(t.Context(), last.List)
	if err != nil || first.List != last.List || row.Used != 512 {
		t.Errorf("StatusList = %+v, %v, want a second block of it used", row, err)
	}
	if want := w.now().Add(8*24*time.Hour + storage.StatusGrace); !row.ExpiresAt.Equal(want) {
		t.Errorf("the list is kept until %v, want %v", row.ExpiresAt, want)
	}
}

// An ended session is invalid for as long as a token of it may live, and the list is signed again only when something changed.
func TestGet(t *testing.T) {
	w := open(t, "example.com")
	alice, bob := w.take("example.com"), w.take("example.com")
	w.session("alice", alice)
	w.session("bob", bob)
	w.expect(alice, statuslist.Valid)
	w.expect(bob, statuslist.Valid)
	w.end("alice")
	w.expect(alice, statuslist.Invalid)
	w.expect(bob, statuslist.Valid)
	w.add(storage.StatusGrace - time.Second)
	w.expect(alice, statuslist.Invalid)
	w.add(6 * time.Minute)
	w.expect(alice, statuslist.Valid)

	token := w.get(bob)
	if err := token.Verify(jose.ES256, w.key.Public()); err != nil {
		t.Error(err)
	}
	if token.Issuer != home || token.Subject != w.Reference(bob).URI || !token.IssuedAt.Equal(w.now()) || token.TTL != time.Minute ||
		!token.Expires.Equal(w.now().Add(15*time.Minute)) {
		t.Errorf("the list = %+v", token.Token)
	}
	signed := w.signed.Load()
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if _, err := w.Get(t.Context(), idOf(w.Lists, bob)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	// A revocation of something else has the entries read again, and nothing signed.
	w.update(func(ctx context.Context, tx storage.Tx) error {
		row, err := tx.Revoke(ctx, revocation.RevokeToken("jti", revocation.Cause{Reason: "test", At: w.now(), TokenLife: time.Minute}))
		w.mirror.Apply(row)
		return err
	})
	w.get(bob)
	if got := w.signed.Load() - signed; got != 0 {
		t.Errorf("the list was signed %d times without a change", got)
	}
}

func TestGetRefuses(t *testing.T) {
	w := open(t, "example.com")
	e := w.take("example.com")
	for _, id := range []string{"", "1", "00000000001", strings.ToUpper(idOf(w.Lists, e)) + " ", idOf(w.Lists, e) + "0", "-0000000001", "0x000000001"} {
		if _, err := w.Get(t.Context(), id); !errors.Is(err, statuses.ErrNotFound) {
			t.Errorf("Get(%q) = %v, want %v", id, err, statuses.ErrNotFound)
		}
	}
	w.get(e)
	// While revocations may be missing, the list that was made before is not served either.
	w.at.Add(int64(3 * time.Second))
	if _, err := w.Get(t.Context(), idOf(w.Lists, e)); !errors.Is(err, revocation.ErrStale) {
		t.Errorf("Get = %v, want %v", err, revocation.ErrStale)
	}
	// A list that no session can refer to any more is gone.
	w.add(9 * 24 * time.Hour)
	if _, err := w.Get(t.Context(), idOf(w.Lists, e)); !errors.Is(err, statuses.ErrNotFound) {
		t.Errorf("Get of an expired list = %v, want %v", err, statuses.ErrNotFound)
	}
}

// The list of a domain outlives the setting, and one that was made by another process is found.
func TestGetListOfAnotherProcess(t *testing.T) {
	w := open(t, "example.com")
	e := w.take("example.com")
	w.session("alice", e)
	w.restart()
	if w.Serves("example.com") {
		t.Error("a domain without the setting has entries")
	}
	w.expect(e, statuslist.Valid)
	w.end("alice")
	w.expect(e, statuslist.Invalid)
}

// Decoys become invalid as sessions do, a bounded number at a time, and valid again after the same time; entries that are given never do.
func TestDecoys(t *testing.T) {
	w := open(t, "example.com")
	given := make(map[int]bool)
	var e storage.StatusEntry
	for i := range 768 {
		if e = w.take("example.com"); i == 0 {
			w.session("alice", e)
		}
		given[e.Index] = true
	}
	since := make(map[int]time.Time)
	changes, most := 0, 0
	for i, status := range statusesOf(t, w.get(e).List) {
		if status == statuslist.Invalid {
			since[i] = w.now().Add(-storage.StatusGrace) // or later: it is not seen when they began
		}
	}
	for range 24 * 60 {
		w.add(time.Minute)
		now := 0
		for i, status := range statusesOf(t, w.get(e).List) {
			began, was := since[i]
			switch {
			case status == statuslist.Valid && was:
				if took := w.now().Sub(began); took < storage.StatusGrace-time.Minute {
					t.Errorf("a decoy was invalid for %v, want at least %v", took, storage.StatusGrace)
				}
				delete(since, i)
				changes++
			case status == statuslist.Invalid && given[i]:
				t.Fatalf("the entry %d of a session is a decoy", i)
			case status == statuslist.Invalid && !was:
				since[i] = w.now()
				changes++
			}
			if status == statuslist.Invalid {
				now++
			}
		}
		most = max(most, now)
	}
	if changes < 2*16*22 || most == 0 || most > 3*144 {
		t.Errorf("%d changes in a day, at most %d decoys at a time", changes, most)
	}
}

func statusesOf(t *testing.T, list *statuslist.List) (all []statuslist.Status) {
	t.Helper()
	for i := range uint64(list.Len()) {
		status, err := list.At(i)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, status)
	}
	return all
}

func TestNewRefuses(t *testing.T) {
	w := open(t)
	good := statuses.Config{Issuer: home, SessionLife: time.Hour, Store: w.store, Keys: w, Revocations: w.mirror}
	if _, err := statuses.New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*statuses.Config){
		"issuer": func(c *statuses.Config) { c.Issuer = "" }, "life": func(c *statuses.Config) { c.SessionLife = 0 },
		"small": func(c *statuses.Config) { c.Size = 1023 }, "large": func(c *statuses.Config) { c.Size = 1<<20 + 1 },
	} {
		cfg := good
		change(&cfg)
		if _, err := statuses.New(cfg); err == nil {
			t.Errorf("%s: New accepted it", name)
		}
	}
}
