package published_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imidentity/issuer/internal/published"
)

func has(word string) func([]string) bool {
	return func(words []string) bool { return slices.Contains(words, word) }
}

// A publisher says words, and counts how often it is asked.
type publisher struct {
	words []string
	err   error
	asked int
}

func (p *publisher) fetch(context.Context) ([]string, error) {
	p.asked++
	return p.words, p.err
}

// TestGet walks through a day of a publisher: time passes only where the test says so.
func TestGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &publisher{words: []string{"a"}}
		c := published.New(published.Config[[]string]{Fetch: p.fetch})
		outage := errors.New("outage")
		for i, step := range []struct {
			wait  time.Duration
			words []string // from now on; nil: the publisher is down
			word  string
			want  error
			asked int
		}{
			{0, nil, "a", published.ErrUnavailable, 1},
			{0, []string{"a"}, "a", published.ErrUnavailable, 1}, // left alone
			{10 * time.Second, []string{"a"}, "a", nil, 2},
			{4 * time.Minute, []string{"a"}, "a", nil, 2},
			{0, []string{"a"}, "x", published.ErrAbsent, 3},
			{0, []string{"a", "b"}, "b", published.ErrUnavailable, 3}, // asked lately
			{0, []string{"a", "b"}, "a", nil, 3},
			{time.Minute, []string{"a", "b"}, "b", nil, 4},
			{5 * time.Minute, []string{"b"}, "a", published.ErrAbsent, 5}, // withdrawn
			{5 * time.Minute, nil, "b", nil, 6},                           // stale, in an outage
			{54 * time.Minute, nil, "b", nil, 7},
			{time.Minute, nil, "b", published.ErrUnavailable, 8}, // too stale
			{10 * time.Second, []string{"b"}, "b", nil, 9},
		} {
			time.Sleep(step.wait)
			p.words, p.err = step.words, nil
			if step.words == nil {
				p.err = outage
			}
			words, err := c.Get(t.Context(), has(step.word))
			if !errors.Is(err, step.want) || (err == nil) != slices.Contains(words, step.word) {
				t.Errorf("step %d: Get(%s) = %q, %v, want %v", i, step.word, words, err, step.want)
			}
			if p.asked != step.asked {
				t.Errorf("step %d: asked %d times, want %d", i, p.asked, step.asked)
			}
		}
	})
}

// TestLife checks that each document may say for itself how long it is used.
func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &publisher{words: []string{"a"}}
		c := published.New(published.Config[[]string]{Fetch: p.fetch, Life: func(words []string, fetched time.Time) (fresh, stale time.Duration) {
			if age := time.Since(fetched); age < 0 {
				t.Errorf("fetched %v from now", -age)
			}
			if slices.Contains(words, "old") {
				return 0, 0
			}
			return time.Duration(len(words)) * time.Second, time.Duration(len(words)) * time.Minute
		}})
		for i, step := range []struct {
			wait  time.Duration
			words []string // from now on; nil: the publisher is down
			want  error
			asked int
		}{
			{0, []string{"a"}, nil, 1},
			{time.Second - 1, []string{"a", "b", "c"}, nil, 1},
			{1, []string{"a", "b", "c"}, nil, 2},
			{3*time.Second - 1, nil, nil, 2},
			{1, nil, nil, 3},
			{3*time.Minute - 3*time.Second - 1, nil, nil, 4},
			{1, nil, published.ErrUnavailable, 4},
			{time.Minute, []string{"a", "old"}, published.ErrUnavailable, 5}, // it has the value, but for no time
		} {
			time.Sleep(step.wait)
			p.words, p.err = step.words, nil
			if step.words == nil {
				p.err = errors.New("outage")
			}
			if _, err := c.Get(t.Context(), has("a")); !errors.Is(err, step.want) || p.asked != step.asked {
				t.Errorf("step %d: Get = %v after %d questions, want %v after %d", i, err, p.asked, step.want, step.asked)
			}
		}
	})
}

// TestJoinedFetch checks that ErrAbsent is about a fetch that began after the question: an earlier one may have missed the value.
func TestJoinedFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		c := published.New(published.Config[[]string]{Fetch: func(context.Context) ([]string, error) {
			n := asked.Add(1)
			words := []string{"a", "b"}[:n]
			time.Sleep(time.Second)
			return words, nil
		}})
		results := make(chan error)
		for _, word := range []string{"a", "b"} {
			go func() {
				_, err := c.Get(t.Context(), has(word))
				results <- err
			}()
			synctest.Wait() // the first has begun a fetch, the other joins it
		}
		for range 2 {
			if err := <-results; err != nil {
				t.Errorf("Get = %v, want nil", err)
			}
		}
		if n := asked.Load(); n != 2 {
			t.Errorf("asked %d times, want 2", n)
		}
	})
}

func TestRead(t *testing.T) {
	for name, v := range map[string]struct {
		status int
		typ    string
		size   int
		ok     bool
	}{
		"small":     {200, "application/json; charset=utf-8", 2, true},
		"limit":     {200, "application/json", 256 << 10, true},
		"too long":  {200, "application/json", 256<<10 + 1, false},
		"not found": {404, "application/json", 2, false},
		"html":      {200, "text/html", 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", v.typ)
				w.WriteHeader(v.status)
				_, _ = w.Write([]byte(strings.Repeat(" ", v.size)))
			}))
			defer s.Close()
			body, err := published.Read(t.Context(), s.Client(), s.URL, "application/json")
			if (err == nil) != v.ok || v.ok && len(body) != v.size {
				t.Errorf("Read = %d bytes, %v, want success %v", len(body), err, v.ok)
			}
		})
	}
}

// TestRetry checks that a publisher that did not answer is asked again at once if Retry says so.
func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &publisher{err: errors.New("outage")}
		c := published.New(published.Config[[]string]{Fetch: p.fetch, Retry: -1})
		for range 2 {
			if _, err := c.Get(t.Context(), published.Any); !errors.Is(err, published.ErrUnavailable) {
				t.Errorf("Get in an outage = %v, want %v", err, published.ErrUnavailable)
			}
		}
		p.words, p.err = []string{"a"}, nil
		if words, err := c.Get(t.Context(), published.Any); err != nil || !slices.Equal(words, p.words) || p.asked != 3 {
			t.Errorf("Get after an outage = %q, %v, asked %d times, want an answer at once", words, err, p.asked)
		}
	})
}

// TestFetchedMeanwhile checks that Get never returns a document without the value: while one caller looks at a document, another
// caller's fetch replaces it, at the same time by the clock.
func TestFetchedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &publisher{words: []string{"a"}}
		c := published.New(published.Config[[]string]{Fetch: p.fetch})
		if _, err := c.Get(t.Context(), has("a")); err != nil {
			t.Fatal(err)
		}
		replaced := false
		words, err := c.Get(t.Context(), func(words []string) bool {
			if !replaced {
				replaced = true
				p.words = []string{"b"}
				if _, err := c.Get(t.Context(), has("b")); err != nil {
					t.Errorf("Get(b) = %v", err)
				}
			}
			return slices.Contains(words, "a")
		})
		if err == nil || slices.Contains(words, "b") {
			t.Errorf("Get(a) = %q, %v, want an error: a is no longer published", words, err)
		}
	})
}

// TestOutageIsShared checks that callers who wait for the same fetch share its failure, instead of asking one after another.
func TestOutageIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		c := published.New(published.Config[[]string]{Retry: -1, Fetch: func(context.Context) ([]string, error) {
			asked.Add(1)
			time.Sleep(time.Second)
			return nil, errors.New("outage")
		}})
		start := time.Now()
		results := make(chan error)
		for range 10 {
			go func() {
				_, err := c.Get(t.Context(), published.Any)
				results <- err
			}()
		}
		for range 10 {
			if err := <-results; !errors.Is(err, published.ErrUnavailable) {
				t.Errorf("Get = %v, want %v", err, published.ErrUnavailable)
			}
		}
		if n := asked.Load(); n != 1 || time.Since(start) != time.Second {
			t.Errorf("asked %d times in %v, want once", n, time.Since(start))
		}
	})
}

// TestAhead checks that callers go on with a document while it is fetched again, before its end and in an outage, but not beyond.
func TestAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &publisher{words: []string{"a"}}
		c := published.New(published.Config[[]string]{Ahead: time.Minute, Fetch: func(ctx context.Context) ([]string, error) {
			words, err := p.fetch(ctx)
			time.Sleep(time.Second)
			return words, err
		}})
		for i, step := range []struct {
			wait  time.Duration
			words []string // from now on; nil: the publisher is down
			want  string   // "": none
			waits bool
			asked int // when the fetch in the background has ended
		}{
			{0, []string{"a"}, "a", true, 1},
			{4*time.Minute - 3*time.Second, []string{"b"}, "a", false, 1},
			{2 * time.Second, []string{"b"}, "a", false, 2},
			{time.Second, nil, "b", false, 2},
			{4 * time.Minute, nil, "b", false, 3},
			{5 * time.Second, nil, "b", false, 3}, // left alone
			{5 * time.Minute, nil, "b", false, 4}, // too old, in an outage
			{time.Minute, []string{"c"}, "b", false, 5},
			{time.Second, []string{"c"}, "c", false, 5},
			{5 * time.Minute, []string{"d"}, "d", true, 6}, // nobody asked meanwhile
			{4 * time.Minute, nil, "d", false, 7},
			{time.Hour, nil, "", true, 8},
		} {
			time.Sleep(step.wait)
			p.words, p.err = step.words, nil
			if step.words == nil {
				p.err = errors.New("outage")
			}
			begin := time.Now()
			words, err := c.Get(t.Context(), published.Any)
			if got := strings.Join(words, " "); got != step.want || (err != nil) != (step.want == "") {
				t.Errorf("step %d: Get = %q, %v, want %q", i, got, err, step.want)
			}
			if waited := time.Since(begin) > 0; waited != step.waits {
				t.Errorf("step %d: Get waited: %v, want %v", i, waited, step.waits)
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if p.asked != step.asked {
				t.Errorf("step %d: asked %d times, want %d", i, p.asked, step.asked)
			}
		}
	})
}
