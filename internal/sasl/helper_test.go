package sasl_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/sasl"
)

// A reply is an answer of the helper.
type reply struct {
	V                                              int
	ID, Result, Nonce, Challenge                   string
	Account, Username, User, Handle, Device, Scope string
	ExpiresIn                                      int64 `json:"expires_in"`
	Condition, Error, Text                         string
}

// serve sends lines to a helper and returns its answers by their ids.
func serve(t *testing.T, h *sasl.Helper, lines string) map[string]reply {
	t.Helper()
	var out bytes.Buffer
	if err := h.Serve(t.Context(), strings.NewReader(lines), &out); err != nil {
		t.Fatalf("Serve = %v, want nil at the end of the input", err)
	}
	replies := make(map[string]reply)
	for line := range strings.Lines(out.String()) {
		var r reply
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.V != 1 {
			t.Fatalf("answer %q: %v, want a JSON object of version 1", line, err)
		}
		replies[r.ID] = r
	}
	return replies
}

// A transcript collects the log of a helper.
type transcript struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *transcript) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *transcript) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newHelper(d *desk) (*sasl.Helper, *transcript) {
	log := new(transcript)
	return sasl.NewHelper(d.Checker, slog.New(slog.NewTextHandler(log, nil))), log
}

// line returns a request.
func line(t *testing.T, members map[string]any) string {
	t.Helper()
	text, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + "\n"
}

// TestHelper holds one exchange by the line protocol: yes, no and unknown.
func TestHelper(t *testing.T) {
	d := newDesk(t, nil)
	h, log := newHelper(d)
	type members = map[string]any
	start := func() string {
		t.Helper()
		r := serve(t, h, line(t, members{"v": 1, "id": "s", "op": "start", "domain": "example.com"}))["s"]
		var c sasl.Challenge
		if err := json.Unmarshal([]byte(r.Challenge), &c); err != nil || r.Result != "challenge" || c.Nonce != r.Nonce ||
			c.Audience != "im:example.com" || c.ExpiresIn != 60 {
			t.Fatalf("start = %+v, want a challenge for im:example.com", r)
		}
		return r.Nonce
	}
	verify := func(nonce string, more members) reply {
		t.Helper()
		request := members{"v": 1, "id": "x", "op": "verify", "nonce": nonce}
		for name, value := range more {
			request[name] = value
		}
		return serve(t, h, line(t, request))["x"]
	}
	var secrets []string
	message := func(nonce string) sasl.Message {
		t.Helper()
		m := d.answerTo(t, nonce)
		secrets = append(secrets, m.Presentation)
		return m
	}

	nonce := start()
	m := message(nonce)
	m.Authzid = "alice@example.com"
	response := base64.StdEncoding.EncodeToString(write(m))
	want := reply{
		V: 1, ID: "x", Result: "yes", Account: "alice@example.com", Username: "alice", User: "im:xmpp=alice@example.com",
		Handle: "im:xmpp=alice@example.com", Device: "im:xmpp=alice/a1@example.com", Scope: "im:handle im:device", ExpiresIn: 600,
	}
	if got := verify(nonce, members{"response": response}); got != want {
		t.Errorf("verify = %+v, want %+v", got, want)
	}
	if got := verify(nonce, members{"response": response}); got.Result != "no" || got.Condition != sasl.NotAuthorized || got.Error != "use_dpop_nonce" {
		t.Errorf("verify again = %+v, want a refusal", got)
	}
	nonce = start()
	m = message(nonce)
	if got := verify(nonce, members{"token": m.Token, "presentation": m.Presentation, "account": "alice@example.com"}); got != want {
		t.Errorf("verify = %+v, want %+v", got, want)
	}
	nonce = start()
	got := verify(nonce, members{"token": token})
	if got.Result != "no" || got.Condition != sasl.NotAuthorized || got.Error != "invalid_dpop_proof" {
		t.Errorf("verify of a token alone = %+v, want a refusal", got)
	}
	var failure struct {
		Status      string `json:"status"`
		Description string `json:"error_description"`
	}
	if err := json.Unmarshal([]byte(got.Challenge), &failure); err != nil || failure.Status != got.Error || failure.Description != got.Text {
		t.Errorf("challenge = %q, want the refusal in JSON", got.Challenge)
	}

	// A message that cannot be read uses up the challenge.
	nonce = start()
	for _, malformed := range []string{"\x01", "n,,", "n,,\x01auth=DPoP a\x01auth=DPoP b\x01\x01"} {
		got := verify(nonce, members{"response": base64.StdEncoding.EncodeToString([]byte(malformed))})
		if got.Result != "no" || got.Condition != sasl.MalformedRequest || got.Error != "invalid_request" {
			t.Errorf("verify of %q = %+v, want malformed-request", malformed, got)
		}
	}
	m = message(nonce)
	if got := verify(nonce, members{"token": m.Token, "presentation": m.Presentation}); got.Error != "use_dpop_nonce" {
		t.Errorf("verify = %+v, want that the challenge is used up", got)
	}

	d.issuer.err = errors.New("connection refused")
	nonce = start()
	m = message(nonce)
	got = verify(nonce, members{"token": m.Token, "presentation": m.Presentation})
	if got.Result != "unknown" || got.Condition != sasl.TemporaryFailure || got.Error != "" || strings.Contains(got.Text, "refused") {
		t.Errorf("verify during an outage = %+v, want temporary-auth-failure, without the cause", got)
	}
	written := log.String()
	if !strings.Contains(written, "connection refused") || !strings.Contains(written, "alice@example.com") {
		t.Errorf("the log names neither account nor cause:\n%s", written)
	}
	for _, secret := range append(secrets, token, response) {
		if strings.Contains(written, secret) {
			t.Errorf("the log contains %q:\n%s", secret, written)
		}
	}
}

// answerTo returns the message with which alice answers a challenge.
func (d *desk) answerTo(t *testing.T, nonce string) sasl.Message {
	t.Helper()
	_, m := d.present(t, func(p *dpop.PresentationParams) { p.Nonce = nonce })
	return m
}

// TestInvalid checks that a request that is not well-formed is answered as a fault of the chat server, and that the next is served.
func TestInvalid(t *testing.T) {
	h, _ := newHelper(newDesk(t, nil))
	for text, says := range map[string]string{
		"x":  "not a JSON object",
		"[]": "not a JSON object",
		"{":  "not one well-formed JSON value",
		"{}": "id: missing",
		`{"v":1,"id":"1","op":"start","domain":"example.com"} {}`:                  "not one well-formed JSON value",
		`{"id":"1","op":"start"}`:                                                  "v: missing",
		`{"v":2,"id":"1","op":"start"}`:                                            "v: not 1",
		`{"v":"1","id":"1","op":"start"}`:                                          "v: not 1",
		`{"v":1,"op":"start"}`:                                                     "id: missing",
		`{"v":1,"id":1,"op":"start"}`:                                              "id: not a JSON string",
		`{"v":1,"id":"` + strings.Repeat("i", 65) + `","op":"start"}`:              "id: longer than 64 bytes",
		`{"v":1,"id":"1","id":"2","op":"start"}`:                                   "the same member twice",
		`{"v":1,"id":"1","ID":"2","op":"start"}`:                                   "differs only in case",
		`{"v":1,"id":"1"}`:                                                         "op: missing",
		`{"v":1,"id":"1","op":"stop"}`:                                             "op: neither start nor verify",
		`{"v":1,"id":"1","op":"start"}`:                                            "domain: not one of this helper", // it has two
		`{"v":1,"id":"1","op":"start","domain":"example.org"}`:                     "domain: not one of this helper",
		`{"v":1,"id":"1","op":"verify","token":"t"}`:                               "nonce: missing",
		`{"v":1,"id":"1","op":"verify","nonce":"n","response":"?"}`:                "response: not base64",
		`{"v":1,"id":"1","op":"verify","nonce":"n","response":"YQ"}`:               "response: not base64",
		`{"v":1,"id":"1","op":"verify","nonce":"n","response":1}`:                  "response: not a JSON string",
		`{"v":1,"id":"1","op":"verify","nonce":"n","response":"YQ==","token":"t"}`: "response: excludes token and presentation",
		"\xff": "not valid UTF-8",
		`{"v":1,"id":"1","op":"start","domain":"` + strings.Repeat("a", 64<<10) + `"}`: "the line has more than 65536 bytes",
		strings.Repeat("a", 1<<20): "the line has more than 65536 bytes",
	} {
		lines := text + "\n\n \r\n" + `{"v":1,"id":"next","op":"start","domain":"example.com"}` + "\n"
		var out bytes.Buffer
		if err := h.Serve(t.Context(), strings.NewReader(lines), &out); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(out.String(), "\n"); n != 2 {
			t.Errorf("%.60q: %d answers, want 2:\n%s", text, n, &out)
		}
		var invalid, next bool
		for line := range strings.Lines(out.String()) {
			var r reply
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatal(err)
			}
			invalid = invalid || r.Result == "invalid" && strings.Contains(r.Text, says)
			next = next || r.ID == "next" && r.Result == "challenge"
		}
		if !invalid || !next {
			t.Errorf("%.60q = %s, want invalid: %s, then a challenge", text, &out, says)
		}
	}
}

// FuzzHelper checks that every line that is not blank gets exactly one answer, which is a JSON object of version 1.
func FuzzHelper(f *testing.F) {
	checker, err := sasl.NewChecker(sasl.Config{
		Issuer: asker(f, &answers{err: errors.New("down")}), Domains: []string{"example.com"},
	})
	if err != nil {
		f.Fatal(err)
	}
	h := sasl.NewHelper(checker, slog.New(slog.DiscardHandler))
	f.Add([]byte(`{"v":1,"id":"1","op":"start"}` + "\n" + `{"v":1,"id":"2","op":"verify","nonce":"x","token":"t"}`))
	f.Add([]byte("\n{}\nx"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var out bytes.Buffer
		if err := h.Serve(t.Context(), bytes.NewReader(data), &out); err != nil {
			t.Fatalf("Serve = %v", err)
		}
		want := 0
		for line := range bytes.Lines(data) {
			if len(bytes.TrimSpace(line)) > 0 {
				want++
			}
		}
		got := 0
		for line := range bytes.Lines(out.Bytes()) {
			var r reply
			if err := json.Unmarshal(line, &r); err != nil || r.V != 1 || r.Result == "" {
				t.Fatalf("answer %q: %v", line, err)
			}
			got++
		}
		if got != want {
			t.Errorf("%d answers to %d lines", got, want)
		}
	})
}

// TestConcurrent sends many requests at once: a slow issuer holds up neither other requests nor their answers.
func TestConcurrent(t *testing.T) {
	d := newDesk(t, nil)
	held, release := make(chan struct{}, 64), make(chan struct{})
	slow := slowIssuer{d.issuer, held, release}
	checker, err := sasl.NewChecker(sasl.Config{Issuer: asker(t, slow), Domains: []string{"example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	h := sasl.NewHelper(checker, slog.New(slog.DiscardHandler))
	server, chat := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(t.Context(), server, server) }()
	in := bufio.NewScanner(chat)
	receive := func() (r reply) {
		t.Helper()
		if !in.Scan() || json.Unmarshal(in.Bytes(), &r) != nil {
			t.Fatalf("no answer: %v", in.Err())
		}
		return r
	}
	send := func(id, op, nonce string) {
		t.Helper()
		text := fmt.Sprintf(`{"v":1,"id":%q,"op":%q,"nonce":%q,"domain":"example.com","token":"t","presentation":"p"}`, id, op, nonce)
		if _, err := io.WriteString(chat, text+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	send("1", "start", "")
	first := receive()
	send("2", "verify", first.Nonce)
	<-held // the issuer is asked, and does not answer
	send("3", "start", "")
	if r := receive(); r.ID != "3" || r.Result != "challenge" {
		t.Errorf("answer = %+v, want that of the later request", r)
	}
	close(release)
	if r := receive(); r.ID != "2" || r.Result != "no" {
		t.Errorf("answer = %+v, want a refusal of the presentation", r)
	}
	_ = chat.Close()
	if err := <-ended; err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
}

type slowIssuer struct {
	*answers
	held    chan<- struct{}
	release <-chan struct{}
}

func (s slowIssuer) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost {
		s.held <- struct{}{}
		<-s.release
	}
	return s.answers.RoundTrip(r)
}

// TestListen serves two connections, and ends with its context.
func TestListen(t *testing.T) {
	h, _ := newHelper(newDesk(t, nil))
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- h.Listen(ctx, l) }()
	for range 2 {
		conn, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, `{"v":1,"id":"1","op":"start","domain":"example.com"}`+"\n"); err != nil {
			t.Fatal(err)
		}
		answer, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.Contains(answer, `"result":"challenge"`) {
			t.Errorf("answer = %q, %v, want a challenge", answer, err)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Listen = %v, want nil", err)
	}
}

// TestStopped checks that a helper ends with its context although its input goes on.
func TestStopped(t *testing.T) {
	h, _ := newHelper(newDesk(t, nil))
	r, w := io.Pipe()
	defer w.Close()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(ctx, r, io.Discard) }()
	if _, err := io.WriteString(w, "{}\n"); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
}

// TestBroken checks that a helper that cannot read or write says so.
func TestBroken(t *testing.T) {
	h, _ := newHelper(newDesk(t, nil))
	broken := errors.New("broken")
	if err := h.Serve(t.Context(), io.MultiReader(strings.NewReader("{}\n"), failing{broken}), io.Discard); !errors.Is(err, broken) {
		t.Errorf("Serve = %v, want %v", err, broken)
	}
	r, w := io.Pipe() // never ends by itself
	defer w.Close()
	go func() { _, _ = io.WriteString(w, "{}\n") }()
	if err := h.Serve(t.Context(), r, failing{broken}); !errors.Is(err, broken) {
		t.Errorf("Serve = %v, want %v", err, broken)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }
