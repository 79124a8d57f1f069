package feed_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/feed"
)

// page writes a page.
func page(k feed.Key, cursor string, events ...feed.Event) string {
	if events == nil {
		events = []feed.Event{}
	}
	text, err := json.Marshal(feed.Page{Events: events, Cursor: cursor, More: true, Key: k, Domains: []string{"example.com"}})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// An issuer answers requests for events by a list, one after the other, and holds the last one open.
type issuer struct {
	*httptest.Server
	asked chan string // the query of each request
}

func serve(t *testing.T, answers ...func(w http.ResponseWriter)) *issuer {
	t.Helper()
	i := &issuer{asked: make(chan string, 100)}
	n := 0
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.asked <- r.URL.Query().Get("after")
		if n == len(answers) {
			<-r.Context().Done()
			return
		}
		n++
		answers[n-1](w)
	}))
	t.Cleanup(i.Close)
	return i
}

func status(code int, name, retryAfter string) func(w http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Retry-After", retryAfter)
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"error":%q}`, name)
	}
}

func text(contentType, body string) func(w http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", contentType)
		fmt.Fprint(w, body)
	}
}

// A run is a Follower that runs, and what it has told. Its pauses are over at once.
type run struct {
	*feed.Follower
	resets, troubles chan error
	pauses           chan time.Duration
	events           chan feed.Event
}

func follow(t *testing.T, i *issuer, stream bool) *run {
	t.Helper()
	r := &run{resets: make(chan error, 100), troubles: make(chan error, 100), pauses: make(chan time.Duration, 100), events: make(chan feed.Event, 100)}
	over := make(chan time.Time)
	close(over)
	follower, err := feed.NewFollower(feed.FollowerConfig{
		Issuer: i.URL, Authorize: func(r *http.Request) error { r.SetBasicAuth("rooms", "secret"); return nil }, Stream: stream,
		Event: func(_ feed.Key, e feed.Event) { r.events <- e }, Reset: func() { r.resets <- nil }, Trouble: func(err error) { r.troubles <- err },
		After: func(d time.Duration) <-chan time.Time {
			if d > time.Minute || d == 45*time.Second { // of an answer that is on its way
				return nil
			}
			r.pauses <- d
			return over
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Follower = follower
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- follower.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v, want %v", err, context.Canceled)
		}
	})
	return r
}

// TestFollowerPages holds that a Follower takes the events of each page, continues from its position after failures, waits longer after
// each and as long as it is told, and starts afresh when the position is lost.
func TestFollowerPages(t *testing.T) {
	event := func(sid string) feed.Event { return feed.Event{Kind: feed.Session, Hash: key.Hash(feed.Session, sid)} }
	other := feed.Key{9}
	json := func(body string) func(http.ResponseWriter) { return text("application/json", body) }
	i := serve(t,
		json(page(key, "c1")),
		json(page(key, "c2", event("a"), event("b"))),
		status(503, "temporarily_unavailable", "7"),
		status(502, "", "soon"),
		text("text/html", "<p>Welcome</p>"),
		json("{"),
		json(page(key, "c3", event("c"))),
		status(410, "fresh_start_required", ""),
		json(page(key, "c4")),
		json(page(other, "c5")), // another key than before
		json(page(other, "c6")),
		status(400, "invalid_cursor", ""),
		status(401, "invalid_client", ""),
		json(page(other, "c7")),
	)
	r := follow(t, i, false)
	for n, want := range []string{"", "c1", "c2", "c2", "c2", "c2", "c2", "c3", "", "c4", "", "c6", "", "", "c7"} {
		if got := <-i.asked; got != want {
			t.Fatalf("request %d is after %q, want %q", n, got, want)
		}
	}
	for _, want := range []string{"a", "b", "c"} {
		if e := <-r.events; e != event(want) {
			t.Errorf("event = %+v, want that of %s", e, want)
		}
	}
	var pauses []time.Duration
	for range 8 {
		pauses = append(pauses, <-r.pauses)
	}
	s := time.Second
	if want := []time.Duration{7 * s, 2 * s, 4 * s, 8 * s, s, s, s, 2 * s}; !slices.Equal(pauses, want) {
		t.Errorf("pauses = %v, want %v", pauses, want)
	}
	if n := len(r.resets); n != 7 { // four fresh starts, and three lost positions
		t.Errorf("%d resets, want 7", n)
	}
	var refused *feed.StatusError
	if err := <-r.troubles; !errors.As(err, &refused) || refused.Status != 503 || refused.Code != "temporarily_unavailable" {
		t.Errorf("trouble = %v, want the 503", err)
	}
}

// TestFollowerEnded holds what a Follower says of answers that were on their way.
func TestFollowerEnded(t *testing.T) {
	next := make(chan string)
	i := serve(t, text("application/json", page(key, "c1")), func(w http.ResponseWriter) {
		text("application/json", <-next)(w)
	}, func(w http.ResponseWriter) {
		status(410, <-next, "")(w)
	}, text("application/json", page(key, "c9")))
	r := follow(t, i, false)
	a, b := feed.Subject{SID: "a"}, feed.Subject{SID: "b"}
	<-r.resets
	<-i.asked
	<-i.asked // the first page was taken
	mark := r.Mark()
	if r.Ended(mark, a) || !r.Ended(feed.Mark{}, a) {
		t.Error("an answer is out of date before any event, or one from before the start is not")
	}
	if !r.Covers("example.com") || r.Covers("example.org") || !r.Alive(time.Now(), time.Minute) || r.Alive(time.Now().Add(2*time.Minute), time.Minute) {
		t.Error("the follower does not know its domains, or whether it is alive")
	}
	next <- page(key, "c2", feed.Event{Kind: feed.Session, Hash: key.Hash(feed.Session, "a")})
	<-i.asked
	if !r.Ended(mark, a) || r.Ended(mark, b) || r.Ended(r.Mark(), a) {
		t.Error("an event ends answers from before it about its session, and no others")
	}
	later := r.Mark()
	next <- "fresh_start_required"
	<-i.asked
	<-i.asked
	if !r.Ended(later, b) || r.Ended(r.Mark(), a) {
		t.Error("a fresh start ends all answers from before it, and none from after it")
	}
}

// TestFollowerStream holds that a Follower reads streams, and what it makes of wrong ones.
func TestFollowerStream(t *testing.T) {
	begin := func(id string) string {
		return "retry: 2000\nevent: start\nid: " + id + "\ndata: {\"hash_key\":\"AQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"domains\":[]}\n\n"
	}
	const event = `{"kind":"sid","hash":"h"}`
	stream := func(body string) func(http.ResponseWriter) { return text("text/event-stream; charset=utf-8", body) }
	i := serve(t,
		stream(begin("s1")+"id: s2\ndata: "+event+"\n\n: alive\nid: s3\n\nevent: news\nid: s4\ndata: ?\n\nevent: end\ndata: {}\n\n"),
		stream(begin("s4")+"id: s5\r\ndata: {\"kind\":\"sid\",\r\ndata: \"hash\":\"h2\"}\r\n\r\nid: s6\ndata: "+event), // cut off
		stream("id: s7\ndata: "+event+"\n\n"),     // without start
		stream(begin("no cursor")),                // with a blank
		stream(begin("s5")+"data: {\n\n"),         // not JSON
		stream(begin("s5")+"id: a b\n\n"),         // no id
		stream(strings.Repeat("a", 100_000)+"\n"), // a line that is too long
		stream(begin("s5")+strings.Repeat(": \n", 50_000)+"\n"),
	)
	r := follow(t, i, true)
	for n, want := range []string{"", "s4", "s5", "s5", "s5", "s5", "s5", "s5", "s5"} {
		if got := <-i.asked; got != want {
			t.Fatalf("request %d is after %q, want %q", n, got, want)
		}
	}
	for _, want := range []string{"h", "h2"} {
		if e := <-r.events; e.Hash != want {
			t.Errorf("event = %+v, want %s", e, want)
		}
	}
	if len(r.events) != 0 || len(r.resets) != 1 {
		t.Errorf("%d further events and %d resets, want none and 1", len(r.events), len(r.resets))
	}
}

// TestFollowerSilence holds that a Follower gives up an answer that does not come.
func TestFollowerSilence(t *testing.T) {
	silence := make(chan time.Time)
	troubles := make(chan error, 10)
	hold := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(hold.Close)
	f, err := feed.NewFollower(feed.FollowerConfig{
		Issuer: hold.URL, Authorize: func(*http.Request) error { return nil }, Trouble: func(err error) { troubles <- err },
		After: func(d time.Duration) <-chan time.Time {
			if d == 45*time.Second {
				return silence
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	silence <- time.Time{}
	if err := <-troubles; !strings.Contains(err.Error(), "has sent nothing") {
		t.Errorf("trouble = %v, want that the issuer is silent", err)
	}
	stop()
	<-ended
}

// FuzzParsePage holds that a page which is read is written back with the same content.
func FuzzParsePage(f *testing.F) {
	f.Add([]byte(page(key, "c1", feed.Event{Kind: feed.Generation, Hash: "h", Gen: 2, Expires: 5})))
	f.Add([]byte(page(key, "c1")))
	f.Add([]byte(`{"events":[],"cursor":"c","hash_key":null}`))
	f.Add([]byte(`{"events":[],"events":[],"cursor":"c","hash_key":""}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := feed.ParsePage(text)
		if err != nil {
			return
		}
		again, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		q, err := feed.ParsePage(again)
		if err != nil || q.Cursor != p.Cursor || q.More != p.More || q.Key != p.Key || !slices.Equal(q.Events, p.Events) || !slices.Equal(q.Domains, p.Domains) {
			t.Errorf("ParsePage of %s = %+v, %v, want %+v", again, q, err, p)
		}
	})
}
