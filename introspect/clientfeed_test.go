package introspect_test

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/feed"
	"github.com/imidentity/issuer/introspect"
)

// follow serves the feed: a fresh start at once, and after that what comes in news.
func (f *faultyIssuer) follow(w http.ResponseWriter, r *http.Request) {
	events := ""
	if r.FormValue("after") != "" {
		select {
		case <-r.Context().Done():
			return
		case events = <-f.news:
		}
		if events == "" {
			fails(http.StatusGone, `{"error":"fresh_start_required"}`, "Content-Type", "application/json")(w, r, "")
			return
		}
	}
	says(fmt.Sprintf(`{"events":[%s],"cursor":"c","more":false,"hash_key":%q,"domains":["example.com"]}`, events, strings.Repeat("A", 43)))(w, r, "")
}

// event is the JSON of an event under the key of follow. The hash of an unknown kind is any text.
func event(kind feed.Kind, value string) string {
	return fmt.Sprintf(`{"kind":%q,"hash":%q}`, kind, cmp.Or(feed.Key{}.Hash(kind, value), "unknown"))
}

// following is a client with a follower.
type following struct {
	*faultyIssuer
	*introspect.Client
	clock  *handClock
	heard  chan feed.Event
	resets chan bool
}

func newFollowing(t *testing.T, changes ...func(*introspect.ClientConfig)) *following {
	t.Helper()
	f := &following{faultyIssuer: newFaultyIssuer(t, nil), heard: make(chan feed.Event, 10), resets: make(chan bool, 10)}
	now := func() time.Time { return f.clock.now() }
	f.clock = &handClock{at: start}
	follower, err := feed.NewFollower(feed.FollowerConfig{
		Issuer: f.URL, Client: f.faultyIssuer.Client(), Now: now, Authorize: func(*http.Request) error { return nil },
		Event: func(_ feed.Key, e feed.Event) { f.heard <- e }, Reset: func() { f.resets <- true },
		After: func(d time.Duration) <-chan time.Time {
			if d < 30*time.Second {
				d /= 100 // a pause
			}
			return time.After(d)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- follower.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	<-f.resets // the fresh start
	for !follower.Alive(start, time.Second) {
		time.Sleep(time.Millisecond)
	}
	f.Client, _ = f.client(t, append(changes, func(c *introspect.ClientConfig) { c.Follower, c.Now = follower, now })...)
	return f
}

const device = "im:alice/d@example.com"

// TestClientFeed holds that an event ends the answers that it matches at once, and no others, and a fresh start all.
func TestClientFeed(t *testing.T) {
	for _, kind := range []struct {
		kind  feed.Kind
		value string
	}{{feed.Device, device}, {feed.Token, "1"}, {feed.Session, "2"}, {feed.Client, "app"}, {"next-year", "anything"}} {
		t.Run(string(kind.kind), func(t *testing.T) {
			f := newFollowing(t)
			wantActive(t, f.Client, "token")
			f.news <- event(feed.Device, "im:bob/d@example.com")
			<-f.heard
			wantActive(t, f.Client, "token")
			f.wantAsked(t, 1, "the event is about another user")
			f.news <- event(kind.kind, kind.value)
			<-f.heard
			f.change(func() { f.answer = says(inactive) })
			if r, err := f.Introspect(t.Context(), about("token")); err != nil || r.Answer.Active {
				t.Errorf("Introspect = %+v, %v, want inactive", r, err)
			}
			f.wantAsked(t, 2, "the event ends the answer")
		})
	}
	f := newFollowing(t)
	wantActive(t, f.Client, "token")
	f.news <- ""
	<-f.resets
	<-f.resets // lost, and begun afresh
	wantActive(t, f.Client, "token")
	f.wantAsked(t, 2, "a fresh start drops everything")
}

// TestClientOvertaken holds that an answer that an event overtook is neither returned nor kept.
func TestClientOvertaken(t *testing.T) {
	f := newFollowing(t)
	overtakes := func(w http.ResponseWriter, r *http.Request, token string) {
		f.news <- event(feed.Device, device)
		<-f.heard
		says(strings.NewReplacer("unverified", holderOf(r)).Replace(activeAnswer))(w, r, token)
	}
	f.answer = func(w http.ResponseWriter, r *http.Request, token string) {
		overtakes(w, r, token)
		f.change(func() { f.answer = says(inactive) })
	}
	if r, err := f.Introspect(t.Context(), about("token")); err != nil || r.Answer.Active {
		t.Errorf("Introspect = %+v, %v, want what is true after the event", r, err)
	}
	f.wantAsked(t, 2, "the question is asked again")
	f.change(func() { f.answer = overtakes })
	if r, err := f.Introspect(t.Context(), about("another")); err == nil || r.Answer.Active {
		t.Errorf("Introspect = %+v, %v, want an error if that does not end", r, err)
	}
	f.wantAsked(t, 5, "three times")
	q := introspect.Question{Token: "token", Shown: introspect.Shown{Proof: "p", Method: "GET", URL: "https://a.example/x"}}
	if r, err := f.Introspect(t.Context(), q); err == nil || r.Answer.Active {
		t.Errorf("Introspect = %+v, %v, want an error: the proof cannot be sent again", r, err)
	}
	f.wantAsked(t, 6, "once")
}

// holderOf is what an issuer says about the holder.
func holderOf(r *http.Request) string {
	if r.FormValue("proof") != "" {
		return "verified"
	}
	return "unverified"
}

// TestClientFollowed holds which answers are kept for longer than max_age while the feed is followed.
func TestClientFollowed(t *testing.T) {
	longer := func(c *introspect.ClientConfig) { c.FollowedAge = 50 * time.Second }
	member := func(text string) string { return strings.Replace(activeAnswer, `{`, `{`+text+`,`, 1) }
	for name, test := range map[string]struct {
		answer string
		token  string
		change func(*introspect.ClientConfig)
		kept   bool
	}{
		"usual":                  {activeAnswer, signedToken, longer, true},
		"not configured":         {activeAnswer, signedToken, func(*introspect.ClientConfig) {}, false},
		"of another domain":      {strings.ReplaceAll(activeAnswer, "example.com", "example.org"), signedToken, longer, false},
		"with an actor":          {member(`"act":{"sub":"bot"}`), signedToken, longer, false},
		"with enclosed tokens":   {member(`"tokens":[{"path":"tokens[0]"}]`), signedToken, longer, false},
		"whose device is unsaid": {strings.Replace(activeAnswer, `"device":"`+device+`",`, ``, 1), signedToken, longer, false},
		"whose key is unknown":   {activeAnswer, "opaque", longer, false},
		"with pairwise ids":      {strings.Replace(activeAnswer, `im:alice@example.com;id-type=user`, `pw_AAAA`, 1), signedToken, longer, false},
		"not to be kept":         {strings.Replace(activeAnswer, `"max_age":5`, `"max_age":0`, 1), signedToken, longer, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFollowing(t, test.change)
			f.change(func() { f.answer = says(test.answer) })
			wantActive(t, f.Client, test.token)
			f.clock.advance(20 * time.Second)
			wantActive(t, f.Client, test.token)
			want := 2
			if test.kept {
				want = 1
			}
			f.wantAsked(t, want, "after 20 seconds")
			if !test.kept {
				return
			}
			f.clock.advance(26 * time.Second)
			wantActive(t, f.Client, test.token)
			f.wantAsked(t, 2, "the issuer was not heard for 46 seconds")
			f.news <- event(feed.Device, "im:bob/d@example.com")
			<-f.heard
			f.news <- event(feed.Device, device) // sent only after the page before it was taken
			<-f.heard
			wantActive(t, f.Client, test.token)
			f.wantAsked(t, 3, "an event")
		})
	}
}

// signedToken has the form of an access token, with a kid in its header: {"alg":"ES256","kid":"k1"}.
const signedToken = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsxIn0.e30.AAAA"
