package server_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/feed"
	"github.com/imidentity/issuer/internal/server"
)

// beside serves the public endpoints of a site by one more listener.
func (s *site) beside(t *testing.T, l net.Listener, change func(*http.Server)) {
	t.Helper()
	h := server.HTTP(s.instance.Server().Public(), slog.New(slog.DiscardHandler))
	change(h)
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(l) }()
	t.Cleanup(func() {
		h.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve = %v, want %v", err, http.ErrServerClosed)
		}
	})
}

// TestEventsOutliveDeadlines holds that requests that wait are not ended by the deadlines for requests that are answered at once.
func TestEventsOutliveDeadlines(t *testing.T) {
	s := start(t, nil)
	l := listen(t, "127.0.0.1:0")
	s.beside(t, l, func(h *http.Server) { h.ReadTimeout, h.WriteTimeout = 100*time.Millisecond, 100*time.Millisecond })
	page := s.events(t, follower, nil)
	req := s.request(t, http.MethodGet, "http://"+l.Addr().String()+"/events?"+url.Values{"after": {page.Cursor}, "wait": {"1"}}.Encode(), "")
	follower.authenticate(url.Values{}, req.Header)
	page = wantEvents(t, s.send(t, s.http, req))

	req = s.request(t, http.MethodGet, "http://"+l.Addr().String()+"/events?"+url.Values{"after": {page.Cursor}, "wait": {"1"}}.Encode(), "")
	follower.authenticate(url.Values{}, req.Header)
	stream := s.openStream(t, req)
	stream.begin(t)
	if m, ok := stream.next(t); !ok || m.comment != "alive" {
		t.Fatalf("message = %+v, %t, want a sign of life", m, ok)
	}
	alice := s.login(t, newDevice(t), "alice")
	s.remove(t, alice.set.Device)
	if e, _ := stream.event(t); !page.Key.Matches(e, subject(t, alice)) {
		t.Errorf("event = %+v, want the device", e)
	}
}

// TestEventsLeave holds that a caller who leaves does not count any more.
func TestEventsLeave(t *testing.T) {
	s := start(t, nil)
	page := s.events(t, follower, nil)
	ctx, leave := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	for range 16 {
		waiting.Go(func() {
			req := s.request(t, http.MethodGet, "/events?"+after(page).Encode(), "").WithContext(ctx)
			follower.authenticate(url.Values{}, req.Header)
			if resp, err := s.transport.RoundTrip(req); err == nil {
				resp.Body.Close()
				t.Errorf("answer = %d, want none before the caller left", resp.StatusCode)
			}
		})
	}
	s.waitFollowers(t, 16)
	leave()
	waiting.Wait()
	s.waitNoFollowers(t)
	s.events(t, follower, nil)
}

// waitNoFollowers waits until no request waits for events.
func (s *site) waitNoFollowers(t *testing.T) {
	t.Helper()
	for range 60_000 {
		if m := s.metrics(t); m[`issuer_feed_waiting{form="poll"}`]+m[`issuer_feed_waiting{form="stream"}`] == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("requests still wait for events")
}

// A pipeListener accepts connections that hold nothing back: what one side writes, the other side must read first.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// TestEventStreamSlow holds that a caller who does not read is dropped, and may come again.
func TestEventStreamSlow(t *testing.T) {
	s := start(t, nil)
	l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	s.beside(t, l, func(*http.Server) {})
	client, served := net.Pipe()
	defer client.Close()
	l.conns <- addressed{served}
	req := s.request(t, http.MethodGet, "/events", "")
	follower.authenticate(url.Values{}, req.Header)
	req.Header.Set("Accept", "text/event-stream")
	if err := req.Write(client); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(client, 16), req)
	if err != nil {
		t.Fatal(err)
	}
	stream := &eventStream{resp.Header, resp.Body, bufio.NewReaderSize(resp.Body, 16)}
	page := stream.begin(t)
	s.waitFollowers(t, 1)
	alice := s.login(t, newDevice(t), "alice")
	s.remove(t, alice.set.Device) // nobody reads it
	s.waitNoFollowers(t)
	if rest, err := io.ReadAll(stream.lines); err == nil {
		t.Errorf("the stream ends with %q and as it should, want it to break off", rest)
	}
	again := s.events(t, follower, url.Values{"after": {page.Cursor}})
	if !slices.Contains(matching(again, subject(t, alice)), feed.Device) {
		t.Errorf("events = %+v, want the one that was not read", again.Events)
	}
}

// addressed is a connection with the address of a client.
type addressed struct{ net.Conn }

func (addressed) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9} }

// TestEventsPairwise holds that a caller that knows users by pairwise ids finds these in the events.
func TestEventsPairwise(t *testing.T) {
	fill := withReleases()
	fill["pairwise"] = "introspection: {pairwise: true}"
	fill["feed"] = `[feed, introspect]`
	s := start(t, fill)
	held, bob := s.login(t, newDevice(t), "alice"), s.login(t, newDevice(t), "bob")
	page := s.events(t, follower, nil)
	seen := func(held tokens) feed.Subject {
		a := s.introspect(t, follower, held.access)
		return feed.Subject{Device: a.text("device"), Sub: a.text("sub")}
	}
	alice, other := seen(held), seen(bob)
	if alice.Device == "" || alice.Device == held.set.Device {
		t.Fatalf("device = %q, want a pairwise id", alice.Device)
	}
	s.remove(t, held.set.Device)
	page = s.events(t, follower, after(page))
	if got := matching(page, alice); !slices.Equal(got, []feed.Kind{feed.Device}) || len(matching(page, other)) != 0 {
		t.Errorf("events %+v end %v, want the device by its pairwise id", page.Events, got)
	}
	if got := matching(page, feed.Subject{Device: held.set.Device}); len(got) != 0 {
		t.Errorf("events %+v name the device by its URI", page.Events)
	}
	s.rename(t, deviceOf(t, bob).Local(), "robert")
	if page = s.events(t, follower, after(page)); !slices.Equal(matching(page, other), []feed.Kind{feed.Generation}) {
		t.Errorf("events = %+v, want one about the user by the pairwise id", page.Events)
	}
}

// TestEventsOfAPeer holds that a client of a trusted peer is told of the issuer's own keys, and of nothing that concerns its users.
func TestEventsOfAPeer(t *testing.T) {
	home, far := startTwo(t, "")
	machine := newDevice(t)
	token := far.service(t, peer, machine, url.Values{"resource": {home.issuer}, "scope": {"feed"}})
	ask := func(query url.Values) answer {
		req := home.request(t, http.MethodGet, "/events?"+query.Encode(), "")
		req.Header = home.boundHeader(t, machine, token, "/events")
		return home.send(t, home.http, req)
	}
	page := wantEvents(t, ask(nil))
	if page.Domains == nil || len(page.Domains) != 0 {
		t.Errorf("domains = %v, want an empty list", page.Domains)
	}
	own := home.events(t, follower, nil)
	alice := home.login(t, newDevice(t), "alice")
	kid := kidOf(t, alice.access)
	home.remove(t, alice.set.Device)
	home.events(t, follower, after(own)) // the issuer has come so far
	if next := wantEvents(t, ask(url.Values{"after": {page.Cursor}})); len(next.Events) != 0 {
		t.Errorf("events = %+v, want none about a user", next.Events)
	}
	home.rotate(t, "true")
	home.revokeKey(t, kid)
	page = wantEvents(t, ask(after(page)))
	if got := matching(page, feed.Subject{KID: kid}); !slices.Equal(got, []feed.Kind{feed.SigningKey}) || len(page.Events) != 1 {
		t.Errorf("events = %+v, want the key alone", page.Events)
	}
	home.reload(t, map[string]string{"peers": strings.Replace(home.fill["peers"], "domain: abroad.example,", "domain: abroad.example, suspended: true,", 1)})
	wantRefused(t, ask(nil), http.StatusUnauthorized, "invalid_token")
}
