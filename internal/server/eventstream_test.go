package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/feed"
)

// A message is a block of an event stream.
type message struct{ event, id, data, comment string }

// An eventStream is a stream that is being read.
type eventStream struct {
	header http.Header
	body   io.Closer
	lines  *bufio.Reader
}

// stream opens a stream as a client that authenticates directly.
func (s *site) stream(t *testing.T, c caller, query url.Values, lastID string) *eventStream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // of a test that hangs
	t.Cleanup(cancel)
	req := s.request(t, http.MethodGet, "/events?"+query.Encode(), "").WithContext(ctx)
	c.authenticate(url.Values{}, req.Header)
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	return s.openStream(t, req)
}

func (s *site) openStream(t *testing.T, req *http.Request) *eventStream {
	t.Helper()
	req.Header.Set("Accept", "text/event-stream")
	resp, err := s.transport.RoundTrip(req) // the witness would read to the end
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" ||
		resp.Header.Get("Cache-Control") != "no-store, no-transform" || resp.Header.Get("X-Accel-Buffering") != "no" {
		t.Fatalf("answer = %d %v, want a stream that no intermediary stores, changes or holds back", resp.StatusCode, resp.Header)
	}
	return &eventStream{resp.Header, resp.Body, bufio.NewReader(resp.Body)}
}

// next reads the next block. At the end of the stream it returns false.
func (e *eventStream) next(t *testing.T) (m message, ok bool) {
	t.Helper()
	for {
		line, err := e.lines.ReadString('\n')
		if err == io.EOF {
			return m, false
		} else if err != nil {
			t.Fatal(err)
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "\n":
			return m, true
		case name == "":
			m.comment = value
		case name == "event":
			m.event = value
		case name == "id":
			m.id = value
		case name == "data":
			m.data = value
		}
	}
}

// begin reads the first event, and returns it with its position as a page.
func (e *eventStream) begin(t *testing.T) (p feed.Page) {
	t.Helper()
	m, ok := e.next(t)
	if !ok || m.event != "start" || m.id == "" {
		t.Fatalf("first event = %+v, want start", m)
	}
	decode(t, []byte(m.data), &p)
	if p.Cursor = m.id; p.Key == (feed.Key{}) {
		t.Fatalf("first event = %+v, want a key", m)
	}
	return p
}

// event reads the next event, beyond comments, and returns the position after it.
func (e *eventStream) event(t *testing.T) (event feed.Event, id string) {
	t.Helper()
	for {
		m, ok := e.next(t)
		switch {
		case !ok || m.event != "":
			t.Fatalf("message = %+v, %t, want an event", m, ok)
		case m.data != "":
			if err := json.Unmarshal([]byte(m.data), &event); err != nil || m.id == "" {
				t.Fatalf("message = %+v, %v, want an event with an id", m, err)
			}
			return event, m.id
		}
	}
}

// wantEnd wants the stream to end for a reason, before any further event.
func (e *eventStream) wantEnd(t *testing.T, reason string) {
	t.Helper()
	for {
		m, ok := e.next(t)
		if ok && m.comment != "" && m.data == "" {
			continue
		}
		if want := `{"reason":"` + reason + `"}`; m.event != "end" || m.data != want {
			t.Errorf("message = %+v, want the end with %s", m, want)
		} else if m, ok := e.next(t); ok {
			t.Errorf("message = %+v after the end, want none", m)
		}
		return
	}
}

// TestEventStream holds that a removed device is the next event of a stream, and that a stream continues where one before it ended,
// also one of a process before.
func TestEventStream(t *testing.T) {
	s := start(t, nil)
	alice, bob := s.login(t, newDevice(t), "alice"), s.login(t, newDevice(t), "bob")
	stream := s.stream(t, follower, nil, "")
	page := stream.begin(t)
	if !slices.Equal(page.Domains, []string{"example.com"}) || s.events(t, follower, nil).Key != page.Key {
		t.Errorf("start = %+v, want the domain and the key of pages", page)
	}
	s.remove(t, alice.set.Device)
	first, id := stream.event(t)
	second, _ := stream.event(t)
	if !page.Key.Matches(first, subject(t, alice)) || first.Kind != feed.Device || second.Kind != feed.Session || page.Key.Matches(first, subject(t, bob)) {
		t.Errorf("events = %+v and %+v, want the device and its session", first, second)
	}
	stream.body.Close()

	// Again from after the first, by the header, which counts more than the parameter of the first request.
	again := s.stream(t, follower, url.Values{"after": {page.Cursor}}, id)
	again.begin(t)
	if e, _ := again.event(t); e != second {
		t.Errorf("event = %+v, want %+v", e, second)
	}
	again.body.Close()
	// Pages and streams have the same positions.
	if p := s.events(t, follower, url.Values{"after": {id}}); !slices.Equal(p.Events, []feed.Event{second}) {
		t.Errorf("page = %+v, want the second event", p)
	}
	s.restart(t, nil)
	s.remove(t, bob.set.Device)
	last := s.stream(t, follower, url.Values{"after": {id}}, "")
	last.begin(t)
	if e, _ := last.event(t); e != second {
		t.Errorf("event after a restart = %+v, want %+v", e, second)
	}
	if e, _ := last.event(t); !page.Key.Matches(e, subject(t, bob)) {
		t.Errorf("event after a restart = %+v, want the device of bob", e)
	}
}

// TestEventStreamAlive holds that a silent stream says that nothing happened, and moves the position on.
func TestEventStreamAlive(t *testing.T) {
	s := start(t, nil)
	stream := s.stream(t, strangerFollower, url.Values{"wait": {"1"}}, "")
	begin := stream.begin(t)
	s.remove(t, s.login(t, newDevice(t), "alice").set.Device) // of another domain
	seen := []string{begin.Cursor}
	for range 2 {
		m, ok := stream.next(t)
		if !ok || m.comment != "alive" || m.id == "" || m.event+m.data != "" || slices.Contains(seen, m.id) {
			t.Fatalf("message = %+v, want a comment with another position", m)
		}
		seen = append(seen, m.id)
	}
	if p := s.events(t, strangerFollower, url.Values{"after": {seen[1]}}); len(p.Events) != 0 {
		t.Errorf("page = %+v, want no events", p)
	}
}

// TestEventStreamEnds holds that a stream ends, and says why, when its caller may no longer listen or the issuer does not know.
func TestEventStreamEnds(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	open := func() *eventStream {
		t.Helper()
		stream := s.stream(t, follower, nil, "")
		stream.begin(t)
		return stream
	}
	bound := func() *eventStream {
		t.Helper()
		token := s.service(t, follower, d, url.Values{"resource": {s.issuer}})
		req := s.request(t, http.MethodGet, "/events", "")
		req.Header = s.boundHeader(t, d, token, "/events")
		stream := s.openStream(t, req)
		stream.begin(t)
		return stream
	}
	t.Run("token expires", func(t *testing.T) {
		stream := bound()
		s.advance(t, 11*time.Minute)
		stream.wantEnd(t, "access")
	})
	t.Run("age", func(t *testing.T) {
		stream := open()
		s.advance(t, 61*time.Minute)
		stream.wantEnd(t, "age")
	})
	t.Run("the issuer does not know", func(t *testing.T) {
		stream := open()
		s.faults.set("Revocations")
		s.clock.advance(3 * time.Second)
		stream.wantEnd(t, "unavailable")
		req := s.request(t, http.MethodGet, "/events", "")
		follower.authenticate(url.Values{}, req.Header)
		req.Header.Set("Accept", "text/event-stream")
		wantError(t, s.send(t, s.http, req), http.StatusServiceUnavailable, "temporarily_unavailable")
		s.faults.set("")
		s.waitReady(t)
	})
	t.Run("registration changes", func(t *testing.T) {
		stream := open()
		s.reload(t, map[string]string{"followed": "[example.com, example.org]"})
		stream.wantEnd(t, "registration")
		s.reload(t, map[string]string{"followed": "[example.com]"})
		other, token := open(), bound()
		s.reload(t, map[string]string{"feed": "[introspect]"})
		other.wantEnd(t, "access")
		token.wantEnd(t, "access")
		s.reload(t, map[string]string{"feed": "[feed]"})
	})
	t.Run("shutdown", func(t *testing.T) {
		streams := []*eventStream{open(), open()}
		s.restart(t, nil) // fails the test if requests had to be given up
		for _, stream := range streams {
			stream.wantEnd(t, "shutdown")
		}
	})
}

// TestEventStreamWrongInput holds that what is wrong about a request for a stream is answered by a status.
func TestEventStreamWrongInput(t *testing.T) {
	s := start(t, nil)
	for _, test := range []struct {
		name   string
		query  url.Values
		ids    []string
		status int
		code   string
	}{
		{"no silence", url.Values{"wait": {"0"}}, nil, 400, "invalid_request"},
		{"too long", url.Values{"wait": {"61"}}, nil, 400, "invalid_request"},
		{"no cursor", nil, []string{"1"}, 400, "invalid_cursor"},
		{"two ids", nil, []string{"a", "b"}, 400, "invalid_request"},
		{"of another caller", nil, []string{s.events(t, strangerFollower, nil).Cursor}, 400, "invalid_cursor"},
	} {
		t.Run(test.name, func(t *testing.T) {
			req := s.request(t, http.MethodGet, "/events?"+test.query.Encode(), "")
			follower.authenticate(url.Values{}, req.Header)
			req.Header["Accept"] = []string{"text/event-stream"}
			req.Header["Last-Event-Id"] = test.ids
			wantError(t, s.send(t, s.http, req), test.status, test.code)
		})
	}
	req := s.request(t, http.MethodGet, "/events", "")
	req.Header.Set("Accept", "text/event-stream")
	wantError(t, s.send(t, s.http, req), http.StatusUnauthorized, "invalid_client")
}
