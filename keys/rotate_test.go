package keys_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/storagetest"
)

const (
	life  = 15 * time.Minute // of what is signed
	ahead = 2 * time.Hour
	every = 10 * 24 * time.Hour
)

var ctx = context.Background()

// set is how rings rotate in these tests.
func scheduled(alg string) keys.RingConfig {
	return keys.RingConfig{Alg: alg, LongestLife: life, RotateEvery: every, PublishAhead: ahead, Limit: 1000 * 24 * time.Hour}
}

// states returns the states of a ring's keys, oldest first.
func states(r *keys.Ring) string {
	var list []string
	for _, k := range r.List() {
		list = append(list, string(k.State))
	}
	return strings.Join(list, " ")
}

func wantStates(t *testing.T, r *keys.Ring, want string) {
	t.Helper()
	if got := states(r); got != want {
		t.Errorf("states = %s, want %s", got, want)
	}
}

// published reports whether a kid is in the key set, which must agree with Public.
func published(t *testing.T, r *keys.Ring, kid string) bool {
	t.Helper()
	set, _ := r.JWKS()
	_, _, ok := r.Public(kid)
	if strings.Contains(string(set), `"`+kid+`"`) != ok {
		t.Errorf("Public(%s) = %v, but JWKS = %s", kid, ok, set)
	}
	return ok
}

func rotate(t *testing.T, r *keys.Ring, atOnce bool) keys.Info {
	t.Helper()
	k, changed, err := r.Rotate(ctx, atOnce)
	if err != nil || !changed {
		t.Fatalf("Rotate = %+v, %v, %v, want a change", k, changed, err)
	}
	return k
}

func revoke(t *testing.T, r *keys.Ring, kid string) keys.Info {
	t.Helper()
	k, changed, err := r.Revoke(ctx, kid, "leaked")
	if err != nil || !changed || k.State != keys.Revoked || k.KID != kid || k.Reason != "leaked" {
		t.Fatalf("Revoke = %+v, %v, %v, want a revoked key", k, changed, err)
	}
	return k
}

// TestRotate checks each moment in the life of a key.
func TestRotate(t *testing.T) {
	c, store := newClock(), openStore(t)
	r := openWith(t, store, c, scheduled(""))
	old := sign(t, r)
	first := kidOf(t, old)
	_, oldTag := r.JWKS()
	c.advance(time.Hour)

	next := rotate(t, r, false)
	if next.State != keys.Published || next.KID == first || !next.Since.Equal(c.now()) || !next.Until.Equal(c.now().Add(ahead)) {
		t.Fatalf("Rotate = %+v, want a key that is published and signs in %v", next, ahead)
	}
	if _, tag := r.JWKS(); !published(t, r, next.KID) || tag == oldTag {
		t.Error("the next key is not published, or under the entity tag of before")
	}
	if again, changed, err := r.Rotate(ctx, false); err != nil || changed || again != next {
		t.Errorf("Rotate again = %+v, %v, %v, want the same and no change", again, changed, err)
	}
	if list := r.List(); len(list) != 2 || list[0].State != keys.Signing || !list[0].Until.Equal(next.Until) {
		t.Errorf("List = %+v, want the first key to sign until the next one does", list)
	}

	c.set(next.Until.Add(-1))
	if got := kidOf(t, sign(t, r)); got != first {
		t.Errorf("a moment too early %s signs, want %s", got, first)
	}
	last := sign(t, r)
	c.set(next.Until)
	if got := kidOf(t, sign(t, r)); got != next.KID {
		t.Errorf("when it is due %s signs, want %s", got, next.KID)
	}
	wantStates(t, r, "retired signing")
	if list := r.List(); !list[0].Since.Equal(next.Until) || !list[0].Until.Equal(next.Until.Add(life)) {
		t.Errorf("List = %+v, want the first key to be retired for %v", list, life)
	}
	c.advance(life - 1)
	if !knows(t, r, old) || !knows(t, r, last) || !published(t, r, first) {
		t.Error("a retired key has left before the last that it signed has expired")
	}
	c.advance(1)
	if published(t, r, first) || knows(t, r, last) {
		t.Error("a retired key is published for longer than what it signed can live")
	}
	wantStates(t, r, "retired signing")
	if set, _ := openWith(t, store, c, scheduled("")).JWKS(); strings.Contains(string(set), first) {
		t.Errorf("JWKS after a restart = %s, want it without %s", set, first)
	}
}

// TestClockBehind sets the clock before the time at which the first key was made, as on a node whose clock is behind.
func TestClockBehind(t *testing.T) {
	c, store := newClock(), openStore(t)
	kid := kidOf(t, sign(t, openWith(t, store, c, scheduled(""))))
	c.advance(-time.Minute)
	r := openWith(t, store, c, scheduled(""))
	if got := kidOf(t, sign(t, r)); got != kid {
		t.Errorf("%s signs, want %s", got, kid)
	}
	wantStates(t, r, "signing")
	next := rotate(t, r, false)
	wantStates(t, r, "signing published")
	r = openWith(t, store, c, scheduled(""))
	wantStates(t, r, "published signing") // by the clock, the next one is the older
	if got := kidOf(t, sign(t, r)); got != kid {
		t.Errorf("%s signs, want %s", got, kid)
	}
	revoke(t, r, kid)
	if got := kidOf(t, sign(t, r)); got != next.KID {
		t.Errorf("%s signs, want %s, which was published", got, next.KID)
	}
	wantStates(t, r, "signing revoked")
}

func TestRotateAtOnce(t *testing.T) {
	for _, test := range []struct {
		name   string
		before bool // the next key is published
	}{{"nothing published", false}, {"next key published", true}} {
		t.Run(test.name, func(t *testing.T) {
			c := newClock()
			r := openWith(t, openStore(t), c, scheduled(""))
			old := sign(t, r)
			var next keys.Info
			if test.before {
				next = rotate(t, r, false)
				c.advance(time.Minute)
			}
			now := rotate(t, r, true)
			if now.State != keys.Signing || !now.Since.Equal(c.now()) || test.before && now.KID != next.KID {
				t.Errorf("Rotate = %+v, want %s to sign from now on", now, next.KID)
			}
			if got := kidOf(t, sign(t, r)); got != now.KID || !knows(t, r, old) {
				t.Errorf("%s signs, want %s, and the one before to check what it signed", got, now.KID)
			}
			wantStates(t, r, "retired signing")
			c.advance(ahead) // when it would have signed
			wantStates(t, r, "retired signing")
			if other := rotate(t, r, true); other.KID == now.KID {
				t.Error("Rotate at once again gives the same key, want another")
			}
			wantStates(t, r, "retired retired signing")
		})
	}
}

// TestRevoke revokes keys in each state.
func TestRevoke(t *testing.T) {
	open := func(t *testing.T) (*clock, storage.Store, *keys.Ring, string, func() []storage.Revocation) {
		c, store := newClock(), openStore(t)
		var told []storage.Revocation
		cfg := scheduled("")
		cfg.Revoked = func(rows ...storage.Revocation) { told = append(told, rows...) }
		r := openWith(t, store, c, cfg)
		return c, store, r, sign(t, r), func() []storage.Revocation { return told }
	}
	gone := func(t *testing.T, r *keys.Ring, token string) {
		t.Helper()
		if knows(t, r, token) || published(t, r, kidOf(t, token)) {
			t.Error("the revoked key is still there")
		}
	}
	t.Run("signing", func(t *testing.T) {
		c, store, r, token, told := open(t)
		revoke(t, r, kidOf(t, token))
		gone(t, r, token)
		wantStates(t, r, "revoked signing")
		if next := sign(t, r); !knows(t, r, next) {
			t.Error("the key that has taken over does not check what it signs")
		}
		rows, _, err := store.Revocations(ctx, 0, 0)
		if err != nil || len(rows) != 1 || len(told()) != 1 || rows[0] != told()[0] {
			t.Fatalf("Revocations = %+v, %v, and told %+v; want the same one", rows, err, told())
		}
		if row := rows[0]; row.Kind != storage.RevokeKey || row.Key != kidOf(t, token) || row.Reason != "leaked" ||
			!row.At.Equal(c.now()) || !row.ExpiresAt.Equal(c.now().Add(life)) {
			t.Errorf("Revocations = %+v, want what the key signed to be void for %v", row, life)
		}

		again, changed, err := r.Revoke(ctx, kidOf(t, token), "other")
		if err != nil || changed || again.Reason != "leaked" || len(told()) != 1 {
			t.Errorf("Revoke again = %+v, %v, %v, want the same and no change", again, changed, err)
		}
		wantStates(t, openWith(t, store, c, scheduled("")), "revoked signing")
	})
	t.Run("signing, with the next one published", func(t *testing.T) {
		c, _, r, token, _ := open(t)
		next := rotate(t, r, false)
		c.advance(time.Minute)
		revoke(t, r, kidOf(t, token))
		gone(t, r, token)
		if got := kidOf(t, sign(t, r)); got != next.KID {
			t.Errorf("%s signs, want %s, which was published", got, next.KID)
		}
		wantStates(t, r, "revoked signing")
	})
	t.Run("published", func(t *testing.T) {
		c, _, r, token, _ := open(t)
		next := rotate(t, r, false)
		revoke(t, r, next.KID)
		if published(t, r, next.KID) {
			t.Error("the revoked key is still published")
		}
		c.advance(ahead + time.Hour)
		if got := kidOf(t, sign(t, r)); got != kidOf(t, token) {
			t.Errorf("when the revoked key was to sign %s does, want the first to go on", got)
		}
		wantStates(t, r, "signing revoked")
		if again := rotate(t, r, false); again.KID == next.KID {
			t.Error("Rotate brings the revoked key back")
		}
	})
	t.Run("retired", func(t *testing.T) {
		_, _, r, token, _ := open(t)
		rotate(t, r, true)
		signing := sign(t, r)
		revoke(t, r, kidOf(t, token))
		gone(t, r, token)
		if got := kidOf(t, sign(t, r)); got != kidOf(t, signing) {
			t.Errorf("%s signs, want %s as before", got, kidOf(t, signing))
		}
	})
	t.Run("unknown", func(t *testing.T) {
		_, store, r, _, told := open(t)
		for _, kid := range []string{"", "unknown"} {
			if _, changed, err := r.Revoke(ctx, kid, ""); !errors.Is(err, keys.ErrNoKey) || changed {
				t.Errorf("Revoke(%q) = %v, %v, want %v", kid, changed, err, keys.ErrNoKey)
			}
		}
		if rows, _, err := store.Revocations(ctx, 0, 0); err != nil || len(rows)+len(told()) != 0 {
			t.Errorf("Revocations = %v, %v, want none", rows, err)
		}
		wantStates(t, r, "signing")
	})
}

// running runs a ring until the test ends.
func running(t *testing.T, r *keys.Ring) {
	t.Helper()
	ctx, stop := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() { r.Run(ctx) })
	t.Cleanup(func() { stop(); done.Wait() })
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 5000 {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("%s does not come about", what)
}

// TestSchedule runs two rings on one store for three periods: each key is made once, and published before it signs.
func TestSchedule(t *testing.T) {
	c, store := newClock(), openStore(t)
	cfg := scheduled("")
	cfg.Interval = time.Millisecond
	one, two := openWith(t, store, c, cfg), openWith(t, store, c, cfg)
	running(t, one)
	running(t, two)
	for period := 1; period <= 3; period++ {
		began := one.List()[period-1].Since
		c.set(began.Add(every - ahead - time.Millisecond))
		time.Sleep(20 * time.Millisecond) // of many intervals, in which nothing may happen
		for _, r := range []*keys.Ring{one, two} {
			if n := len(r.List()); n != period {
				t.Fatalf("%d keys a moment before the next one is due, want %d", n, period)
			}
		}
		c.set(began.Add(every - ahead))
		for _, r := range []*keys.Ring{one, two} {
			eventually(t, "the next key", func() bool { return len(r.List()) == period+1 })
			next := r.List()[period]
			if next.State != keys.Published || !next.Until.Equal(began.Add(every)) {
				t.Fatalf("next key = %+v, want one that is published and signs at %v", next, began.Add(every))
			}
		}
		c.set(began.Add(every))
		if a, b := kidOf(t, sign(t, one)), kidOf(t, sign(t, two)); a != b || a != one.List()[period].KID {
			t.Errorf("%s and %s sign, want the key that was published", a, b)
		}
	}
	if rows, err := store.SigningKeys(ctx); err != nil || len(rows) != 4 {
		t.Errorf("SigningKeys = %d, %v, want 4", len(rows), err)
	}
}

// TestScheduleLate checks that a key which is long overdue still signs until the next one was published for long enough.
func TestScheduleLate(t *testing.T) {
	c, store := newClock(), openStore(t)
	openWith(t, store, c, scheduled(""))
	c.advance(5 * every)
	r := openWith(t, store, c, scheduled(""))
	list := r.List()
	if states(r) != "signing published" || !list[1].Until.Equal(c.now().Add(ahead)) {
		t.Errorf("List = %+v, want the next key published for %v", list, ahead)
	}
}

func TestNoSchedule(t *testing.T) {
	c, store := newClock(), openStore(t)
	cfg := scheduled("")
	cfg.RotateEvery = 0
	openWith(t, store, c, cfg)
	c.advance(100 * every)
	r := openWith(t, store, c, cfg)
	wantStates(t, r, "signing")
	if list := r.List(); !list[0].Until.IsZero() {
		t.Errorf("List = %+v, want no end", list)
	}
	rotate(t, r, false)
	wantStates(t, r, "signing published")
}

// TestAlgorithm checks that another algorithm in the settings takes effect at the next start, and that what the keys
// before have signed goes on to be good.
func TestAlgorithm(t *testing.T) {
	c, store := newClock(), openStore(t)
	var tokens []string
	for _, alg := range []string{"ES256", "EdDSA", "RS256", "ES256"} {
		r := openWith(t, store, c, scheduled(alg))
		tokens = append(tokens, sign(t, r))
		if _, got, _ := r.Signer(); got != alg {
			t.Errorf("Signer = %v, want %v", got, alg)
		}
		set, _ := r.JWKS()
		for i, token := range tokens {
			if !knows(t, r, token) || !checks(t, set, token) {
				t.Errorf("with %s, token %d is not good any more", alg, i)
			}
		}
		rotate(t, r, false) // the next start with another algorithm has no use for it
		c.advance(time.Minute)
	}
	r := openWith(t, store, c, scheduled("ES256"))
	wantStates(t, r, "retired retired retired retired retired retired signing published")
	c.advance(ahead)
	if _, alg, _ := r.Signer(); alg != "ES256" {
		t.Errorf("Signer = %v, want ES256: a key of an earlier setting has come back", alg)
	}
	wantStates(t, r, "retired retired retired retired retired retired retired signing")
	set, _ := r.JWKS()
	for _, token := range tokens[:3] {
		if checks(t, set, token) {
			t.Error("a key is published for longer than what it signed can live")
		}
	}
}

// TestAlgorithmsDiffer lets two rings on one store want another algorithm each: they do not fight about it. The one that
// was started last has its way, and the schedule makes one key at a time.
func TestAlgorithmsDiffer(t *testing.T) {
	c, store := newClock(), openStore(t)
	rings := make([]*keys.Ring, 2)
	for i, alg := range []string{"ES256", "EdDSA"} {
		cfg := scheduled(alg)
		cfg.Interval = time.Millisecond
		rings[i] = openWith(t, store, c, cfg)
		running(t, rings[i])
	}
	settled := func(want string) {
		t.Helper()
		for _, r := range rings {
			eventually(t, want, func() bool { return states(r) == want })
		}
		time.Sleep(20 * time.Millisecond) // of many intervals, in which nothing may happen
		for _, r := range rings {
			wantStates(t, r, want)
		}
	}
	settled("retired signing")
	if _, alg, _ := rings[0].Signer(); alg != "EdDSA" {
		t.Errorf("Signer = %v, want EdDSA", alg)
	}
	c.advance(every - ahead)
	settled("retired signing published")
	c.advance(ahead)
	settled("retired retired signing")
}

// TestLife checks that a key is published for as long as it was told to when it signed, whatever the settings say when it
// retires.
func TestLife(t *testing.T) {
	const long = 90 * 24 * time.Hour
	c, store := newClock(), openStore(t)
	cfg := scheduled("")
	cfg.RotateEvery = 0
	openWith(t, store, c, cfg)
	cfg.LongestLife = long
	token := sign(t, openWith(t, store, c, cfg))
	cfg.LongestLife = life
	r := openWith(t, store, c, cfg)
	rotate(t, r, true)
	second := sign(t, r)
	if _, _, err := r.Revoke(ctx, kidOf(t, second), "x"); err != nil {
		t.Fatal(err)
	}
	c.advance(long - 1)
	if !knows(t, r, token) {
		t.Error("a retired key has left before the last that it signed has expired")
	}
	c.advance(1)
	if knows(t, r, token) {
		t.Error("a retired key is published for longer than what it signed can live")
	}
	if _, _, err := r.Revoke(ctx, kidOf(t, token), "x"); err != nil {
		t.Fatal(err)
	}
	rows, _, err := store.Revocations(ctx, 0, 0)
	if err != nil || len(rows) != 2 || rows[0].ExpiresAt.Sub(rows[0].At) != life || rows[1].ExpiresAt.Sub(rows[1].At) != long {
		t.Errorf("Revocations = %+v, %v, want what each key signed to be void for as long as it can live", rows, err)
	}
}

// TestFollow checks that a ring follows the changes of another one on the same store.
func TestFollow(t *testing.T) {
	c, store := newClock(), openStore(t)
	cfg := scheduled("")
	cfg.Interval = time.Millisecond
	one, two := openWith(t, store, c, cfg), openWith(t, store, c, cfg)
	token := sign(t, two)
	revoke(t, one, kidOf(t, token))
	if !knows(t, two, token) {
		t.Error("a ring that does not run has read the store")
	}
	running(t, two)
	eventually(t, "the revocation", func() bool { return !published(t, two, kidOf(t, token)) })
	if a, b := kidOf(t, sign(t, one)), kidOf(t, sign(t, two)); a != b {
		t.Errorf("%s and %s sign, want the same", a, b)
	}
}

// TestStale checks that a ring which cannot read the store signs for a while, checks for ever, and then says so.
func TestStale(t *testing.T) {
	c, real := newClock(), openStore(t)
	var mu sync.Mutex
	var failing bool
	fail := func(on bool) { mu.Lock(); failing = on; mu.Unlock() }
	store := storagetest.Faulty{Store: real, Fail: func(op string) error {
		mu.Lock()
		defer mu.Unlock()
		if failing {
			return errors.New("disk on fire")
		}
		return nil
	}}
	var log strings.Builder
	cfg := scheduled("")
	cfg.Limit, cfg.Interval = time.Minute, time.Millisecond
	cfg.Log = slog.New(slog.NewTextHandler(&lockedWriter{mu: &mu, to: &log}, nil))
	r := openWith(t, store, c, cfg)
	token := sign(t, r)
	fail(true)
	running(t, r)
	c.advance(time.Minute)
	sign(t, r)
	c.advance(1)
	if _, err := r.Sign("x", nil); !errors.Is(err, keys.ErrStale) || !errors.Is(r.Fresh(c.now()), keys.ErrStale) {
		t.Errorf("Sign = %v, Fresh = %v, want %v", err, r.Fresh(c.now()), keys.ErrStale)
	}
	if !knows(t, r, token) || !published(t, r, kidOf(t, token)) {
		t.Error("the keys are not published any more")
	}
	logged := func(what string) func() bool {
		return func() bool { mu.Lock(); defer mu.Unlock(); return strings.Count(log.String(), what) == 1 }
	}
	eventually(t, "a word in the log", logged("failing=true"))
	fail(false)
	eventually(t, "a fresh ring", func() bool { return r.Fresh(c.now()) == nil })
	sign(t, r)
	eventually(t, "a word in the log", logged("failing=false"))
}

type lockedWriter struct {
	mu *sync.Mutex
	to *strings.Builder
}

func (w *lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(p)
}

// TestFaults makes each operation of a change fail: nothing has changed then, and the same change succeeds afterwards.
func TestFaults(t *testing.T) {
	signer := func(t *testing.T, r *keys.Ring) string { kid, _, _ := r.Signer(); return kid }
	for name, test := range map[string]struct {
		prepare, change func(t *testing.T, r *keys.Ring) error
		ops             []string
	}{
		"rotate": {nil, func(t *testing.T, r *keys.Ring) error {
			_, _, err := r.Rotate(ctx, false)
			return err
		}, []string{"Update", "SigningKeys", "UpdateSigningKey", "InsertSigningKey", "Commit"}},
		"rotate at once": {nil, func(t *testing.T, r *keys.Ring) error {
			_, _, err := r.Rotate(ctx, true)
			return err
		}, []string{"Update", "SigningKeys", "UpdateSigningKey", "InsertSigningKey", "Commit"}},
		"revoke": {nil, func(t *testing.T, r *keys.Ring) error {
			_, _, err := r.Revoke(ctx, signer(t, r), "leaked")
			return err
		}, []string{"Update", "SigningKeys", "UpdateSigningKey", "InsertSigningKey", "Revoke", "Commit"}},
		"revoke, with the next one published": {func(t *testing.T, r *keys.Ring) error {
			_, _, err := r.Rotate(ctx, false)
			return err
		}, func(t *testing.T, r *keys.Ring) error {
			_, _, err := r.Revoke(ctx, signer(t, r), "leaked")
			return err
		}, []string{"Update", "SigningKeys", "UpdateSigningKey", "Revoke", "Commit"}},
	} {
		for _, op := range test.ops {
			t.Run(name+"/"+op, func(t *testing.T) {
				real, fire := openStore(t), errors.New("disk on fire")
				failing := ""
				store := storagetest.Faulty{Store: real, Fail: func(op string) error {
					if op == failing {
						return fire
					}
					return nil
				}}
				r := openWith(t, store, newClock(), scheduled(""))
				if test.prepare != nil {
					if err := test.prepare(t, r); err != nil {
						t.Fatal(err)
					}
				}
				before, _ := real.SigningKeys(ctx)
				list, kid := r.List(), signer(t, r)
				failing = op
				if err := test.change(t, r); !errors.Is(err, fire) {
					t.Fatalf("change = %v, want %v", err, fire)
				}
				failing = ""
				after, _ := real.SigningKeys(ctx)
				revocations, _, _ := real.Revocations(ctx, 0, 0)
				if !slices.EqualFunc(before, after, sameRow) || len(revocations) != 0 {
					t.Errorf("rows = %+v and %+v, want them as before", after, revocations)
				}
				if !slices.Equal(r.List(), list) || signer(t, r) != kid {
					t.Errorf("List = %+v, want %+v", r.List(), list)
				}
				if err := test.change(t, r); err != nil {
					t.Errorf("change afterwards = %v, want nil", err)
				}
			})
		}
	}
}

func sameRow(a, b storage.SigningKey) bool {
	return a.KID == b.KID && a.ActiveAt.Equal(b.ActiveAt) && a.RetiredAt.Equal(b.RetiredAt) && a.RevokedAt.Equal(b.RevokedAt) &&
		a.Life == b.Life
}

// TestRace lets several rings on one store rotate and revoke at a time while others sign: there is always one key that
// signs, the same for all in the end, and never more than one that waits.
func TestRace(t *testing.T) {
	c, store := newClock(), openStore(t)
	rings := make([]*keys.Ring, 4)
	cfg := scheduled("EdDSA")
	cfg.Interval = time.Millisecond
	for i := range rings {
		rings[i] = openWith(t, store, c, cfg)
		running(t, rings[i])
	}
	stop := make(chan struct{})
	var signing, working sync.WaitGroup
	for _, r := range rings {
		signing.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := r.Sign("x", []byte("{}")); err != nil {
					t.Errorf("Sign = %v, want a token", err)
					return
				}
			}
		})
	}
	for i, r := range rings {
		working.Go(func() {
			for n := range 15 {
				var err error
				switch (i + n) % 3 {
				case 0:
					_, _, err = r.Rotate(ctx, false)
				case 1:
					_, _, err = r.Rotate(ctx, true)
				case 2:
					kid, _, _ := r.Signer()
					if _, _, err = r.Revoke(ctx, kid, "test"); err == nil && published(t, r, kid) {
						t.Error("a key that this ring has revoked is published by it")
					}
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	working.Wait()
	close(stop)
	signing.Wait()
	want := ""
	for i, r := range rings {
		if err := r.Refresh(ctx); err != nil {
			t.Fatal(err)
		}
		got := states(r)
		if strings.Count(got, "signing") != 1 || strings.Count(got, "published") > 1 || i > 0 && got != want {
			t.Errorf("states = %s, want one key that signs, one that waits at most, and the same everywhere", got)
		}
		want = got
	}
}
