package introspect_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/introspect"
)

// A faultyIssuer is an issuer that answers as a test says, also wrongly. It counts the requests.
type faultyIssuer struct {
	*httptest.Server
	reached chan bool   // receives for each request about tokens, if it is not nil
	news    chan string // the next events, as JSON; an empty text is a lost position
	gate    chan bool   // each request about tokens waits to receive from it, if it is not nil

	mu       sync.Mutex
	metadata map[string]any // members that differ from the usual ones
	answer   func(w http.ResponseWriter, r *http.Request, token string)
	item     func(token string) string // of a batch
	keys     string
	singles  []string
	batches  [][]string
	fetched  int // the keys, how often
}

// activeAnswer is what an issuer says about an active token.
const activeAnswer = `{"active":true,"sub":"im:alice@example.com;id-type=user","device":"im:alice/d@example.com","client_id":"app","jti":"1","sid":"2",` +
	`"cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},"token_type":"DPoP","expires_in":60,"max_age":5,"holder":"unverified"}`

// says answers with a JSON text.
func says(text string) func(http.ResponseWriter, *http.Request, string) {
	return func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, text)
	}
}

// fails answers with an error.
func fails(status int, body string, header ...string) func(http.ResponseWriter, *http.Request, string) {
	return func(w http.ResponseWriter, _ *http.Request, _ string) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

func newFaultyIssuer(t testing.TB, metadata map[string]any) *faultyIssuer {
	f := &faultyIssuer{metadata: metadata, answer: says(activeAnswer), item: func(string) string { return activeAnswer }, keys: `{"keys":[]}`, news: make(chan string)}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// change changes what the issuer says.
func (f *faultyIssuer) change(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// asked returns how many requests there were about one token and about several.
func (f *faultyIssuer) asked() (singles, batches int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.singles), len(f.batches)
}

func (f *faultyIssuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/.well-known/oauth-authorization-server":
		f.mu.Lock()
		defer f.mu.Unlock()
		members := map[string]any{
			"issuer": f.URL, "introspection_endpoint": f.URL + "/ask", "im_introspection_batch_endpoint": f.URL + "/several", "jwks_uri": f.URL + "/keys",
		}
		maps.Copy(members, f.metadata)
		maps.DeleteFunc(members, func(_ string, v any) bool { return v == nil })
		text, _ := json.Marshal(members)
		says(string(text))(w, r, "")
		return
	case "/keys":
		f.mu.Lock()
		defer f.mu.Unlock()
		f.fetched++
		says(f.keys)(w, r, "")
		return
	}
	if r.URL.Path == "/events" {
		f.follow(w, r)
		return
	}
	token := r.FormValue("token")
	var several []string
	if r.URL.Path == "/several" {
		if err := json.Unmarshal([]byte(r.FormValue("tokens")), &several); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	f.mu.Lock()
	answer, item := f.answer, f.item
	if several == nil {
		f.singles = append(f.singles, token)
	} else {
		f.batches = append(f.batches, several)
	}
	f.mu.Unlock()
	if f.reached != nil {
		f.reached <- true
	}
	if f.gate != nil {
		<-f.gate
	}
	if several == nil {
		answer(w, r, token)
		return
	}
	items := make([]string, len(several))
	for i, token := range several {
		items[i] = item(token)
	}
	says(`{"answers":[`+strings.Join(items, ",")+`]}`)(w, r, "")
}

// A handClock is a clock that a test moves.
type handClock struct {
	mu sync.Mutex
	at time.Time
}

func (c *handClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *handClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// client returns a client of the issuer, and its clock.
func (f *faultyIssuer) client(t testing.TB, changes ...func(*introspect.ClientConfig)) (*introspect.Client, *handClock) {
	t.Helper()
	clock := &handClock{at: start}
	cfg := introspect.ClientConfig{
		Issuer: f.URL, HTTP: f.Client(), AllowLoopback: true, ClientID: "rooms", Secret: "s3cret", AllowUnproven: true, Now: clock.now,
	}
	for _, change := range changes {
		change(&cfg)
	}
	c, err := introspect.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c, clock
}

// about is a question about a token alone.
func about(token string) introspect.Question { return introspect.Question{Token: token} }

// wantActive asks about a token, and wants it to be active.
func wantActive(t testing.TB, c *introspect.Client, token string) introspect.Result {
	t.Helper()
	r, err := c.Introspect(t.Context(), about(token))
	if err != nil || !r.Answer.Active {
		t.Fatalf("Introspect = %+v, %v, want active", r, err)
	}
	return r
}
