package introspect_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/introspect"
)

// TestClientConfig holds which configurations are refused.
func TestClientConfig(t *testing.T) {
	good := introspect.ClientConfig{Issuer: "https://id.example.net", ClientID: "rooms", Secret: "s3cret"}
	if _, err := introspect.NewClient(good); err != nil {
		t.Fatal(err)
	}
	own := func(context.Context) (string, error) { return "", nil }
	for name, change := range map[string]func(*introspect.ClientConfig){
		"no issuer":              func(c *introspect.ClientConfig) { c.Issuer = "" },
		"an issuer by http":      func(c *introspect.ClientConfig) { c.Issuer = "http://id.example.net" },
		"http on loopback":       func(c *introspect.ClientConfig) { c.Issuer = "http://127.0.0.1" },
		"http, not on loopback":  func(c *introspect.ClientConfig) { c.Issuer, c.AllowLoopback = "http://10.0.0.1", true },
		"an issuer with a query": func(c *introspect.ClientConfig) { c.Issuer += "?a=b" },
		"an issuer with a user":  func(c *introspect.ClientConfig) { c.Issuer = "https://a@id.example.net" },
		"no credentials":         func(c *introspect.ClientConfig) { c.Secret = "" },
		"two credentials":        func(c *introspect.ClientConfig) { c.Assertion = own },
		"no client id":           func(c *introspect.ClientConfig) { c.ClientID = "" },
		"a token without a key":  func(c *introspect.ClientConfig) { c.Secret, c.Token = "", own },
		"a key without a token":  func(c *introspect.ClientConfig) { c.Signer = newHolder(t) },
		"signed, no audience":    func(c *introspect.ClientConfig) { c.Secret, c.Token, c.Signer, c.Signed = "", own, newHolder(t), true },
		"a negative grace":       func(c *introspect.ClientConfig) { c.Grace = -1 },
		"a negative bound":       func(c *introspect.ClientConfig) { c.CacheBytes = -1 },
		"followed, no follower":  func(c *introspect.ClientConfig) { c.FollowedAge = time.Minute },
	} {
		cfg := good
		change(&cfg)
		if c, err := introspect.NewClient(cfg); err == nil || c != nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: NewClient = %v, want an error without the secret", name, err)
		}
	}
}

// TestClientMetadata holds that the metadata must be that of the issuer, with endpoints that may be used.
func TestClientMetadata(t *testing.T) {
	for name, test := range map[string]struct {
		change map[string]any
		good   bool
	}{
		"usual":                        {nil, true},
		"without batches":              {map[string]any{"im_introspection_batch_endpoint": nil}, true},
		"without keys":                 {map[string]any{"jwks_uri": nil}, true},
		"another issuer":               {map[string]any{"issuer": "https://id.example.org"}, false},
		"an issuer with a slash":       {map[string]any{"issuer": "SLASH"}, false},
		"no issuer":                    {map[string]any{"issuer": nil}, false},
		"no endpoint":                  {map[string]any{"introspection_endpoint": nil}, false},
		"an endpoint that is no text":  {map[string]any{"introspection_endpoint": 7}, false},
		"an endpoint by http":          {map[string]any{"introspection_endpoint": "http://id.example.net/ask"}, false},
		"a batch by http":              {map[string]any{"im_introspection_batch_endpoint": "http://id.example.net/several"}, false},
		"keys by http":                 {map[string]any{"jwks_uri": "http://id.example.net/keys"}, false},
		"an endpoint of another kind":  {map[string]any{"introspection_endpoint": "file:///etc/passwd"}, false},
		"an endpoint without a host":   {map[string]any{"introspection_endpoint": "/ask"}, false},
		"an endpoint with credentials": {map[string]any{"introspection_endpoint": "https://a:b@id.example.net/ask"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFaultyIssuer(t, test.change)
			if test.change["issuer"] == "SLASH" {
				f.change(func() { f.metadata["issuer"] = f.URL + "/" })
			}
			c, _ := f.client(t)
			r, err := c.Introspect(t.Context(), about("token"))
			if test.good && (err != nil || !r.Answer.Active) || !test.good && !errors.Is(err, introspect.ErrUnknown) {
				t.Errorf("Introspect = %+v, %v, want active %t, or ErrUnknown", r, err, test.good)
			}
			if n, _ := f.asked(); !test.good && n != 0 {
				t.Errorf("%d questions were sent, want none", n)
			}
			f.change(func() { f.metadata = nil })
			wantActive(t, c, "token")
		})
	}
}

// TestClientUnproven holds that questions need a proof or a presentation, and that what goes with it is demanded.
func TestClientUnproven(t *testing.T) {
	f := newFaultyIssuer(t, nil)
	c, _ := f.client(t, func(c *introspect.ClientConfig) { c.AllowUnproven = false })
	if _, err := c.Introspect(t.Context(), about("token")); !errors.Is(err, introspect.ErrUnproven) {
		t.Errorf("Introspect = %v, want ErrUnproven", err)
	}
	if _, err := c.IntrospectAll(t.Context(), []string{"token"}); !errors.Is(err, introspect.ErrUnproven) {
		t.Errorf("IntrospectAll = %v, want ErrUnproven", err)
	}
	for name, s := range map[string]introspect.Shown{
		"both":                              {Proof: "p", Method: "GET", URL: "https://a.example", Presentation: "q", Audience: "a", Nonce: "n"},
		"a proof without its URL":           {Proof: "p", Method: "GET"},
		"a proof without its method":        {Proof: "p", URL: "https://a.example"},
		"a presentation without a nonce":    {Presentation: "q", Audience: "a"},
		"a presentation without a verifier": {Presentation: "q", Nonce: "n"},
	} {
		if _, err := c.Introspect(t.Context(), introspect.Question{Token: "token", Shown: s}); err == nil {
			t.Errorf("%s: Introspect = nil, want an error", name)
		}
	}
	if n, _ := f.asked(); n != 0 {
		t.Errorf("%d questions were sent, want none", n)
	}
}

// TestClientHolder holds that questions about the holder are asked each time, and that an answer must say that it was checked.
func TestClientHolder(t *testing.T) {
	f := newFaultyIssuer(t, nil)
	c, _ := f.client(t, func(c *introspect.ClientConfig) { c.AllowUnproven = false })
	q := introspect.Question{Token: "token", Shown: introspect.Shown{Proof: "p", Method: "GET", URL: "https://a.example/x"}}
	if r, err := c.Introspect(t.Context(), q); !errors.Is(err, introspect.ErrUnknown) || r.Answer.Active {
		t.Errorf("Introspect = %+v, %v, want ErrUnknown for an issuer that did not check the proof", r, err)
	}
	f.change(func() {
		f.answer = func(w http.ResponseWriter, r *http.Request, token string) {
			if r.FormValue("proof") != "p" || r.FormValue("proof_htm") != "GET" || r.FormValue("proof_htu") != "https://a.example/x" || r.Form.Has("proof_nonce") {
				t.Errorf("form = %v, want the proof and its request", r.Form)
			}
			says(strings.Replace(strings.Replace(activeAnswer, "unverified", "verified", 1), `"max_age":5`, `"max_age":0`, 1))(w, r, token)
		}
	})
	for range 3 {
		if r, err := c.Introspect(t.Context(), q); err != nil || r.Answer.Holder != introspect.Verified {
			t.Errorf("Introspect = %+v, %v, want verified", r, err)
		}
	}
	if n, _ := f.asked(); n != 4 {
		t.Errorf("%d questions were sent, want 4", n)
	}
	// An answer about a holder is not believed if nothing was shown.
	c, _ = f.client(t)
	f.change(func() { f.answer = says(strings.Replace(activeAnswer, "unverified", "verified", 1)) })
	if _, err := c.Introspect(t.Context(), about("token")); !errors.Is(err, introspect.ErrUnknown) {
		t.Errorf("Introspect = %v, want ErrUnknown", err)
	}
}

// TestClientNoToken holds that a text that cannot be a token is inactive, without a question.
func TestClientNoToken(t *testing.T) {
	f := newFaultyIssuer(t, nil)
	c, _ := f.client(t)
	texts := []string{"", " token", "tok\nen", "tok\xffen", "tökën", strings.Repeat("a", 1<<20)}
	for _, text := range texts {
		if r, err := c.Introspect(t.Context(), about(text)); err != nil || r.Answer.Active {
			t.Errorf("Introspect(%.10q) = %+v, %v, want inactive", text, r, err)
		}
	}
	all, err := c.IntrospectAll(t.Context(), texts)
	if err != nil || len(all) != len(texts) {
		t.Fatalf("IntrospectAll = %v, %v", all, err)
	}
	for i := range all {
		if all[i].Err != nil || all[i].Answer.Active {
			t.Errorf("IntrospectAll: %.10q is %+v, want inactive", texts[i], all[i])
		}
	}
	if n, m := f.asked(); n+m != 0 {
		t.Errorf("%d questions were sent, want none", n+m)
	}
}

// TestClientErrors holds how the answers of an issuer are told apart: "no", "cannot know", and a refusal of the caller.
func TestClientErrors(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request, string)
		want   error
		after  time.Duration
		code   string
	}{
		"wrong credentials": {fails(401, `{"error":"invalid_client","error_description":"check \"the\" id\u001b[31m"}`),
			introspect.ErrCaller, 0, "invalid_client check 'the' id?[31m"},
		"without the scope":    {fails(403, `{"error":"insufficient_scope"}`), introspect.ErrCaller, 0, "insufficient_scope"},
		"a wrong parameter":    {fails(400, `{"error":"invalid_request"}`), introspect.ErrCaller, 0, "invalid_request"},
		"an error with a tale": {fails(400, `{"error":"\u001b[31mtoken"}`), introspect.ErrCaller, 0, ""},
		"an error in HTML":     {fails(401, `<html>`), introspect.ErrCaller, 0, ""},
		"out of order":         {fails(503, `{}`, "Retry-After", "7"), introspect.ErrUnknown, 7 * time.Second, ""},
		"too many":             {fails(429, `{}`, "Retry-After", "3"), introspect.ErrUnknown, 3 * time.Second, ""},
		"far too long":         {fails(503, `{}`, "Retry-After", "99999999"), introspect.ErrUnknown, time.Hour, ""},
		"a date":               {fails(503, `{}`, "Retry-After", "Fri, 01 Jan 2027 00:00:00 GMT"), introspect.ErrUnknown, 0, ""},
		"a negative wait":      {fails(503, `{}`, "Retry-After", "-5"), introspect.ErrUnknown, 0, ""},
		"broken":               {fails(500, ``), introspect.ErrUnknown, 0, ""},
		"not there":            {fails(404, ``), introspect.ErrUnknown, 0, ""},
		"a redirect":           {fails(307, ``, "Location", "/elsewhere"), introspect.ErrUnknown, 0, ""},
		"no content":           {fails(204, ``), introspect.ErrUnknown, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFaultyIssuer(t, nil)
			f.answer = test.answer
			c, _ := f.client(t)
			r, err := c.Introspect(t.Context(), about("the-token"))
			if !errors.Is(err, test.want) || r.Answer.Active || errors.Is(err, introspect.ErrUnknown) == errors.Is(err, introspect.ErrCaller) {
				t.Fatalf("Introspect = %+v, %v, want %v alone", r, err, test.want)
			}
			var unknown *introspect.UnknownError
			var caller *introspect.CallerError
			if errors.As(err, &unknown) && unknown.RetryAfter != test.after || errors.As(err, &caller) && strings.TrimSpace(caller.Code+" "+caller.Description) != test.code {
				t.Errorf("Introspect = %#v, want %v and %q", err, test.after, test.code)
			}
			if strings.Contains(err.Error(), "the-token") || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error %q has a secret in it", err)
			}
			if n, _ := f.asked(); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
			f.change(func() { f.answer = says(activeAnswer) }) // errors are not kept
			wantActive(t, c, "the-token")
		})
	}
}

// TestClientAway holds that an issuer that does not answer, or not in time, is no "no".
func TestClientAway(t *testing.T) {
	f := newFaultyIssuer(t, nil)
	f.reached, f.gate = make(chan bool, 1), make(chan bool)
	c, _ := f.client(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-f.reached; cancel() }()
	if r, err := c.Introspect(ctx, about("token")); !errors.Is(err, introspect.ErrUnknown) || !errors.Is(err, context.Canceled) {
		t.Errorf("Introspect = %+v, %v, want ErrUnknown and the error of the context", r, err)
	}
	close(f.gate)
	slow := newFaultyIssuer(t, nil)
	slow.gate = make(chan bool)
	c, _ = slow.client(t, func(c *introspect.ClientConfig) { c.Timeout = 50 * time.Millisecond })
	if r, err := c.Introspect(t.Context(), about("token")); !errors.Is(err, introspect.ErrUnknown) {
		t.Errorf("Introspect = %+v, %v, want ErrUnknown after the timeout", r, err)
	}
	close(slow.gate)
	gone := newFaultyIssuer(t, nil)
	c, _ = gone.client(t)
	gone.Close()
	if r, err := c.Introspect(t.Context(), about("token")); !errors.Is(err, introspect.ErrUnknown) {
		t.Errorf("Introspect = %+v, %v, want ErrUnknown", r, err)
	}
}

// TestClientCredentials holds what a client sends as its credentials.
func TestClientCredentials(t *testing.T) {
	f := newFaultyIssuer(t, nil)
	seen := make(chan *http.Request, 1)
	f.answer = func(w http.ResponseWriter, r *http.Request, token string) { seen <- r; says(activeAnswer)(w, r, token) }
	c, _ := f.client(t, func(c *introspect.ClientConfig) { c.ClientID, c.Secret = "rooms:1", "a b+c%&ü" })
	wantActive(t, c, "token")
	if id, secret, ok := (<-seen).BasicAuth(); !ok || id != "rooms%3A1" || secret != "a+b%2Bc%25%26%C3%BC" {
		t.Errorf("credentials = %q, %q, want them form-encoded", id, secret)
	}
	made := 0
	c, _ = f.client(t, func(c *introspect.ClientConfig) {
		c.Secret, c.Assertion = "", func(context.Context) (string, error) { made++; return "signed", nil }
	})
	wantActive(t, c, "token")
	if r := <-seen; r.FormValue("client_id") != "rooms" || r.FormValue("client_assertion") != "signed" || r.Header["Authorization"] != nil || made != 1 {
		t.Errorf("form = %v, want an assertion", r.Form)
	}
	signer := newHolder(t)
	own := func(c *introspect.ClientConfig) {
		c.ClientID, c.Secret, c.Signer = "", "", signer
		c.Token = func(context.Context) (string, error) { return "own", nil }
	}
	c, _ = f.client(t, own)
	wantActive(t, c, "token")
	if r := <-seen; r.Header.Get("Authorization") != "DPoP own" || r.Header.Get("DPoP") == "" {
		t.Errorf("header = %v, want the token and a proof", r.Header)
	}
	c, _ = f.client(t, own, func(c *introspect.ClientConfig) {
		c.Token = func(context.Context) (string, error) { return "", errors.New("the login has ended") }
	})
	if _, err := c.Introspect(t.Context(), about("token")); !errors.Is(err, introspect.ErrUnknown) || !strings.Contains(err.Error(), "the login has ended") {
		t.Errorf("Introspect = %v, want ErrUnknown with the cause", err)
	}
}
