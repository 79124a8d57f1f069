package server_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A witness reads the log of an issuer and knows the secrets that went over the wire: none of them may be in the log,
// nor in an answer that refuses the request that carried it.
type witness struct {
	mu      sync.Mutex
	log     bytes.Buffer
	secrets map[string]string // what kind each is
	public  map[string]bool   // no secrets, though they are sent where one is expected
	told    []string          // faults in answers
}

func newWitness() *witness {
	return &witness{secrets: make(map[string]string), public: make(map[string]bool)}
}

// Write takes the log.
func (w *witness) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(p)
}

// shortest is the length of the shortest secret.
const shortest = 16

// keep notes a secret. Shorter texts are none: they are in a log for other reasons.
func (w *witness) keep(kind, value string) {
	if len(value) < shortest {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets[value] = kind
}

// knows notes that a text is no secret: an id, which a test sends in the place of a token.
func (w *witness) knows(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.public[id] = true
}

// report fails the test if anything secret was told.
func (w *witness) report(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	text := w.log.String()
	if !strings.Contains(text, "msg=request ") {
		t.Error("the log holds no request: nothing was witnessed")
	}
	for value, i := range w.find(text) {
		line := text[strings.LastIndexByte(text[:i], '\n')+1:]
		line, _, _ = strings.Cut(line, "\n")
		t.Errorf("the log holds a %s: %.400s", w.secrets[value], strings.ReplaceAll(line, value, "***"))
	}
	for _, fault := range w.told {
		t.Error(fault)
	}
}

// find returns the secrets that are in a text, with their places. It reads the text once, however many secrets there are.
func (w *witness) find(text string) map[string]int {
	var begins [1 << 16]bool // by the hash of the first bytes of a secret
	heads := make(map[string][]string)
	for value := range w.secrets {
		if !w.public[value] {
			begins[headOf(value)] = true
			heads[value[:shortest]] = append(heads[value[:shortest]], value)
		}
	}
	found := make(map[string]int)
	for i := range max(0, len(text)-shortest+1) {
		if !begins[headOf(text[i:])] {
			continue
		}
		for _, value := range heads[text[i:i+shortest]] {
			if strings.HasPrefix(text[i:], value) {
				found[value] = i
			}
		}
	}
	return found
}

// headOf returns a hash of the first four bytes of a text.
func headOf(text string) uint16 {
	head := uint32(text[0]) | uint32(text[1])<<8 | uint32(text[2])<<16 | uint32(text[3])<<24
	return uint16(head * 2654435761 >> 16)
}

// secretMembers are the members of forms, queries and JSON documents whose values are secret.
var secretMembers = []string{
	"code", "state", "nonce", "code_verifier", "client_secret", "client_assertion", "token", "refresh_token", "access_token", "id_token", "password",
}

// keepAll notes the secrets among parameters, and returns those that no answer may repeat.
func (w *witness) keepAll(from url.Values) (kept []string) {
	for _, name := range secretMembers {
		for _, value := range from[name] {
			w.keep(name, value)
			if name != "state" { // a form carries its own on
				kept = append(kept, value)
			}
		}
	}
	return kept
}

// jwts are what JWTs look like among other text: a form or a JSON document holds any number of them, under any names.
var jwts = regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.[\w-]{16,}`)

// keepTokens notes the JWTs in a body, and returns them.
func (w *witness) keepTokens(body []byte) (kept []string) {
	for _, token := range jwts.FindAll(body, -1) {
		w.keep("token in a body", string(token))
		kept = append(kept, string(token))
	}
	return kept
}

// A recorder shows a witness what passes.
type recorder struct {
	base    http.RoundTripper
	witness *witness
}

// RoundTrip sends the request on.
func (r recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	sent := r.witness.keepAll(req.URL.Query())
	for _, header := range []string{"DPoP", "Authorization"} {
		for _, value := range req.Header.Values(header) {
			_, credentials, _ := strings.Cut(value, " ")
			r.witness.keep(header, credentials)
			r.witness.keep(header, value)
			sent = append(sent, value)
		}
	}
	for _, cookie := range req.Cookies() {
		r.witness.keep("cookie", cookie.Value)
		sent = append(sent, cookie.Value)
	}
	if req.GetBody != nil {
		if body, err := req.GetBody(); err == nil {
			text, _ := io.ReadAll(body)
			sent = append(sent, r.witness.keepTokens(text)...)
			if form, err := url.ParseQuery(string(text)); err == nil {
				sent = append(sent, r.witness.keepAll(form)...)
			}
		}
	}
	resp, err := r.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	r.witness.read(resp, body, sent)
	return resp, nil
}

// read notes what an answer holds, and that a refusal repeats nothing of the request.
func (w *witness) read(resp *http.Response, body []byte, sent []string) {
	for _, cookie := range resp.Cookies() {
		w.keep("cookie", cookie.Value)
	}
	if to, err := resp.Location(); err == nil {
		w.keepAll(to.Query())
	}
	var document map[string]any
	if json.Unmarshal(body, &document) == nil {
		for _, name := range secretMembers {
			if value, ok := document[name].(string); ok {
				w.keep(name, value)
			}
		}
	}
	if resp.StatusCode < http.StatusBadRequest {
		return
	}
	if slices.ContainsFunc(sent, func(s string) bool { return len(s) >= 16 && bytes.Contains(body, []byte(s)) }) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.told = append(w.told, "the answer to "+resp.Request.Method+" "+resp.Request.URL.Path+" repeats a secret of the request")
	}
}
