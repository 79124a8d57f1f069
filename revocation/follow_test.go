package revocation_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/feed"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// in returns a revocation of a token of a domain.
func in(domain, jti string) storage.Revocation {
	r := revocation.RevokeToken(jti, cause)
	r.Domain = domain
	return r
}

// follow returns a follower from a position on.
func follow(t *testing.T, m *revocation.Mirror, after int64, domains ...string) *revocation.Follower {
	t.Helper()
	f, err := m.Follow(after, domains)
	if err != nil {
		t.Fatalf("Follow(%d) = %v, want nil", after, err)
	}
	t.Cleanup(f.Close)
	return f
}

// wantRows wants the next rows of a follower to be about these tokens.
func wantRows(t *testing.T, f *revocation.Follower, now time.Time, limit int, more bool, want ...string) {
	t.Helper()
	rows, gotMore, err := f.Next(now, limit)
	var got []string
	for _, r := range rows {
		got = append(got, r.Key)
	}
	if err != nil || gotMore != more || !slices.Equal(got, want) {
		t.Errorf("Next = %v, %t, %v, want %v, %t", got, gotMore, err, want, more)
	}
}

// TestFollow holds which rows a follower gets: those of its domains and those of all, in the order of their numbers, as long as they
// have not expired.
func TestFollow(t *testing.T) {
	store, now := openStore(t), start
	m := newMirror(store, &now)
	read(t, m)
	com, org := follow(t, m, m.Position(), "example.com"), follow(t, m, m.Position(), "example.org", "example.net")
	commit(t, store, in("example.com", "a"), in("example.org", "b"), in("", "c"), in("example.com example.net", "d"), in("example.com.au", "e"))
	wantRows(t, com, now, 10, false) // not before they were read
	read(t, m)
	<-com.Ready()
	<-org.Ready()
	wantRows(t, com, now, 2, true, "a", "c")
	wantRows(t, com, now, 2, false, "d")
	wantRows(t, com, now, 2, false)
	wantRows(t, org, now, 10, false, "b", "c", "d")
	if com.After() != m.Position() || org.After() != m.Position() {
		t.Errorf("positions = %d and %d, want %d", com.After(), org.After(), m.Position())
	}

	before := com.After()
	commit(t, store, in("example.org", "f"))
	read(t, m)
	select {
	case <-com.Ready():
		t.Error("a follower was told of a row of another domain")
	default:
	}
	wantRows(t, com, now, 10, false)
	if com.After() == before {
		t.Errorf("position = %d, want it to move on with rows of others", before)
	}

	all := follow(t, m, 0, "example.com", "example.org")
	now = now.Add(2 * time.Hour) // every row has expired
	wantRows(t, all, now, 10, false)
}

// TestFollowGap holds that a follower is told if rows after its position are no longer kept, or were never there.
func TestFollowGap(t *testing.T) {
	store, now := openStore(t), start
	config := revocation.Config{Source: store, Kept: 3, Now: func() time.Time { return now }}
	m := revocation.NewMirror(config)
	for i := range 5 {
		commit(t, store, in("example.com", fmt.Sprint(i)))
	}
	read(t, m)
	last := m.Position()
	for after, want := range map[int64]error{0: revocation.ErrGap, last - 4: revocation.ErrGap, last - 3: nil, last: nil, last + 1: revocation.ErrAhead} {
		f, err := m.Follow(after, []string{"example.com"})
		if !errors.Is(err, want) {
			t.Errorf("Follow(%d) = %v, want %v", after, err, want)
		}
		if err == nil {
			f.Close()
		}
	}
	slow, other := follow(t, m, last-3, "example.com"), follow(t, m, last, "example.org")
	wantRows(t, slow, now, 1, true, "2")
	for i := range 3 {
		commit(t, store, in("example.com", fmt.Sprint(5+i)))
	}
	read(t, m)
	if rows, _, err := slow.Next(now, 1); !errors.Is(err, revocation.ErrGap) {
		t.Errorf("Next of a slow follower = %v, %v, want %v", rows, err, revocation.ErrGap)
	}
	wantRows(t, other, now, 1, false) // it missed nothing
	quick := follow(t, m, last, "example.com")
	wantRows(t, quick, now, 10, false, "5", "6", "7")

	// Another process with the same table keeps the same rows.
	m = revocation.NewMirror(config)
	read(t, m)
	wantRows(t, follow(t, m, last, "example.com"), now, 10, false, "5", "6", "7")
	if _, err := m.Follow(last-1, nil); !errors.Is(err, revocation.ErrGap) {
		t.Errorf("Follow(%d) = %v, want %v", last-1, err, revocation.ErrGap)
	}
}

// TestFollowRace lets followers read while rows are committed, and two readers follow the table: each row arrives once, in order.
func TestFollowRace(t *testing.T) {
	const writers, rounds, followers = 4, 25, 6
	store, now := openStore(t), start
	m := newMirror(store, &now)
	read(t, m)
	ctx, stop := context.WithCancel(t.Context())
	var readers, reading, writing sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for ctx.Err() == nil {
				if err := m.Read(context.Background()); err != nil {
					t.Errorf("Read = %v, want nil", err)
				}
			}
		})
	}
	seen := make([][]string, followers)
	for i := range followers {
		f := follow(t, m, m.Position(), "example.com")
		reading.Go(func() {
			for len(seen[i]) < writers*rounds && ctx.Err() == nil {
				rows, more, err := f.Next(now, 1+i)
				if err != nil {
					t.Errorf("Next = %v, want nil", err)
					return
				}
				for _, r := range rows {
					seen[i] = append(seen[i], r.Key)
				}
				if !more && len(seen[i]) < writers*rounds {
					select {
					case <-f.Ready():
					case <-ctx.Done():
					}
				}
			}
		})
	}
	for w := range writers {
		writing.Go(func() {
			for n := range rounds {
				m.Apply(commit(t, store, in("example.com", fmt.Sprint(w, "-", n)), in("example.org", fmt.Sprint("other", w, "-", n)))...)
			}
		})
	}
	writing.Wait()
	reading.Wait()
	stop()
	readers.Wait()
	rows, _, err := store.Revocations(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, r := range rows {
		if r.Domain == "example.com" {
			want = append(want, r.Key)
		}
	}
	for i := range seen {
		if !slices.Equal(seen[i], want) {
			t.Errorf("follower %d got %v, want %v", i, seen[i], want)
		}
	}
}

// FuzzCursor holds that no text but one that the feed gave opens a position.
func FuzzCursor(f *testing.F) {
	now := start
	m := revocation.NewMirror(revocation.Config{Source: empty{}, Now: func() time.Time { return now }})
	if err := m.Read(context.Background()); err != nil {
		f.Fatal(err)
	}
	served, err := revocation.NewFeed(revocation.FeedConfig{
		Mirror: m, Issuer: "https://issuer.example", Now: func() time.Time { return now }, CursorKey: [32]byte{1}, HashKey: [32]byte{2},
		Identify: func(domain, user, device string) (string, string, error) { return user, device, nil },
		Rand:     rand.NewChaCha8([32]byte{}), // each worker of the fuzzer is given the same
	})
	if err != nil {
		f.Fatal(err)
	}
	caller := revocation.Caller{ID: "peer", Domains: []string{"example.com"}}
	sub, err := served.Open(caller, "")
	if err != nil {
		f.Fatal(err)
	}
	given := make(map[string]bool)
	for range 3 {
		text, err := sub.Cursor()
		if err != nil {
			f.Fatal(err)
		}
		given[text] = true
		f.Add(text)
		f.Add(text + "A")
		f.Add(text[:len(text)-1])
	}
	sub.Close()
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		sub, err := served.Open(caller, text)
		if err == nil {
			sub.Close()
		}
		switch {
		case text == "" || given[text]:
			if err != nil {
				t.Errorf("Open = %v, want nil", err)
			}
		case !errors.Is(err, revocation.ErrCursor):
			t.Errorf("Open = %v, want %v", err, revocation.ErrCursor)
		}
	})
}

// empty is a table without rows.
type empty struct{}

func (empty) Revocations(context.Context, int64, int) ([]storage.Revocation, int64, error) {
	return nil, 0, nil
}

// TestFeedCursor holds that a cursor is good for one caller of one issuer with the domains that it was given for, and for a while.
func TestFeedCursor(t *testing.T) {
	now := start
	m := newMirror(empty{}, &now)
	read(t, m)
	config := revocation.FeedConfig{
		Mirror: m, Issuer: "https://issuer.example", Now: func() time.Time { return now }, CursorKey: [32]byte{1}, HashKey: [32]byte{2},
		Identify: func(domain, user, device string) (string, string, error) { return user, device, nil },
	}
	open := func(c revocation.FeedConfig, by revocation.Caller, cursor string) (string, feed.Key, error) {
		t.Helper()
		f, err := revocation.NewFeed(c)
		if err != nil {
			t.Fatal(err)
		}
		s, err := f.Open(by, cursor)
		if err != nil {
			return "", feed.Key{}, err
		}
		defer s.Close()
		page, _, err := s.Page(1)
		return page.Cursor, page.Key, err
	}
	by := revocation.Caller{ID: "peer", Domains: []string{"example.com", "example.org"}}
	given, key, err := open(config, by, "")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, secrets := config, config
	elsewhere.Issuer = "https://other.example"
	secrets.CursorKey = [32]byte{3}
	for _, test := range []struct {
		name   string
		config revocation.FeedConfig
		by     revocation.Caller
		later  time.Duration
		want   error
	}{
		{"again", config, by, 0, nil},
		{"at the end of its life", config, by, revocation.CursorLife, nil},
		{"after it", config, by, revocation.CursorLife + time.Second, revocation.ErrCursorAge},
		{"by a clock that is a little behind", config, by, -5 * time.Minute, nil},
		{"from the future", config, by, -6 * time.Minute, revocation.ErrAhead},
		{"domains in another order", config, revocation.Caller{ID: "peer", Domains: []string{"example.org", "example.com"}}, 0, nil},
		{"another caller", config, revocation.Caller{ID: "peer2", Domains: by.Domains}, 0, revocation.ErrCursor},
		{"fewer domains", config, revocation.Caller{ID: "peer", Domains: by.Domains[:1]}, 0, revocation.ErrCursorDomains},
		{"another issuer", elsewhere, by, 0, revocation.ErrCursor},
		{"other secrets", secrets, by, 0, revocation.ErrCursor},
	} {
		t.Run(test.name, func(t *testing.T) {
			now = start.Add(test.later)
			read(t, m)
			_, again, err := open(test.config, test.by, given)
			if !errors.Is(err, test.want) {
				t.Errorf("Open = %v, want %v", err, test.want)
			}
			if err == nil && again != key {
				t.Error("the key of the hashes has changed")
			}
		})
	}
}

// TestFeedBounds holds how many subscriptions there may be, and that the feed is closed for all at once.
func TestFeedBounds(t *testing.T) {
	now := start
	m := newMirror(empty{}, &now)
	read(t, m)
	f, err := revocation.NewFeed(revocation.FeedConfig{
		Mirror: m, Issuer: "https://issuer.example", PerCaller: 2, InAll: 3, Now: func() time.Time { return now },
		Identify: func(domain, user, device string) (string, string, error) { return user, device, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	open := func(id string, want error) *revocation.Subscription {
		t.Helper()
		s, err := f.Open(revocation.Caller{ID: id}, "")
		if !errors.Is(err, want) {
			t.Fatalf("Open for %s = %v, want %v", id, err, want)
		}
		return s
	}
	first := open("a", nil)
	open("a", nil)
	open("a", revocation.ErrCallerBusy)
	other := open("b", nil)
	open("c", revocation.ErrBusy)
	first.Close()
	open("c", nil)
	open("a", revocation.ErrBusy)
	other.Close()
	if _, err := f.Open(revocation.Caller{ID: "b"}, "no cursor"); !errors.Is(err, revocation.ErrCursor) {
		t.Errorf("Open = %v, want %v", err, revocation.ErrCursor)
	}
	open("b", nil) // the refused one does not count
	f.Close()
	f.Close()
	<-f.Done()
	open("d", revocation.ErrClosed)

	now = now.Add(time.Minute)
	if err := first.Fresh(); !errors.Is(err, revocation.ErrStale) {
		t.Errorf("Fresh = %v, want %v", err, revocation.ErrStale)
	}
}
