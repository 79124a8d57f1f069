package server_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/browser"
)

// What every authorization request of the tests says, unless it says otherwise.
const (
	redirectURI = "http://127.0.0.1:7777/callback" // nobody listens: the browser stops before it goes there
	appState    = "state-of-the-app"
	verifier    = "verifier-that-is-as-long-as-rfc-7636-asks-for-0"
)

func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// A caller is an OAuth client; it has no secret if it is public.
type caller struct{ id, secret string }

// authenticate adds what says who asks.
func (c caller) authenticate(form url.Values, header http.Header) {
	if c.secret == "" {
		form.Set("client_id", c.id)
		return
	}
	header.Set("Authorization", basic(url.QueryEscape(c.id), url.QueryEscape(c.secret)))
}

func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
}

// A device is a key and what makes proofs with it.
type device struct {
	*dpop.Signer
	key *ecdsa.PrivateKey
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newDevice(t *testing.T) *device {
	t.Helper()
	key := newKey(t)
	signer, err := dpop.NewSigner(key, "")
	if err != nil {
		t.Fatal(err)
	}
	return &device{signer, key}
}

// nonce asks for one. That never fails: see TestStoreFails.
func (s *site) nonce(t *testing.T) (nonce string) {
	t.Helper()
	s.faults.quietly(func() { nonce = s.get(t, "/nonce").header.Get("DPoP-Nonce") })
	return nonce
}

// proof makes a proof for the token endpoint; an empty nonce stands for the newest.
func (s *site) proof(t *testing.T, d *device, nonce string) string {
	t.Helper()
	if nonce == "" {
		nonce = s.nonce(t)
	}
	proof, err := d.Proof(dpop.ProofParams{Method: http.MethodPost, URL: s.issuer + "/token", Nonce: nonce, IssuedAt: s.clock.now()})
	if err != nil {
		t.Fatal(err)
	}
	return proof
}

// An answer is a response, read to its end.
type answer struct {
	status int
	header http.Header
	body   string
	json   object // nil if the body is no JSON object
}

func (a answer) text(member string) string {
	text, _ := a.json[member].(string)
	return text
}

func (a answer) String() string {
	return fmt.Sprintf("%d %s", a.status, strings.Join(strings.Fields(a.body), " "))
}

// send sends a request and reads the answer.
func (s *site) send(t *testing.T, c *http.Client, req *http.Request) answer {
	t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, body: string(body)}
	if strings.Contains(resp.Header.Get("Content-Type"), "json") && bytes.HasPrefix(body, []byte("{")) {
		if err := json.Unmarshal(body, &a.json); err != nil {
			t.Errorf("%s %s: the answer %q is not JSON: %v", req.Method, req.URL.Path, body, err)
		}
	}
	return a
}

// request makes a request to a path of the issuer's, or to any URL.
func (s *site) request(t *testing.T, method, to, body string) *http.Request {
	t.Helper()
	if strings.HasPrefix(to, "/") {
		to = s.issuer + to
	}
	req, err := http.NewRequestWithContext(t.Context(), method, to, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func (s *site) get(t *testing.T, to string) answer {
	t.Helper()
	return s.send(t, s.http, s.request(t, http.MethodGet, to, ""))
}

// post sends a form, with headers that may stand in the place of the usual ones.
func (s *site) post(t *testing.T, to string, form url.Values, header http.Header) answer {
	t.Helper()
	req := s.request(t, http.MethodPost, to, form.Encode())
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	maps.Copy(req.Header, header)
	return s.send(t, s.http, req)
}

// token asks the token endpoint, as client c and with a good proof by d (nil for none).
func (s *site) token(t *testing.T, c caller, d *device, form url.Values) answer {
	t.Helper()
	header, form := http.Header{}, maps.Clone(form)
	c.authenticate(form, header)
	if d != nil {
		header.Set("DPoP", s.proof(t, d, ""))
	}
	return s.post(t, "/token", form, header)
}

// authorization returns the query of an authorization request: that of app, and what change says instead.
func authorization(change url.Values) url.Values {
	q := url.Values{
		"response_type": {"code"}, "client_id": {app.id}, "redirect_uri": {redirectURI}, "state": {appState},
		"code_challenge": {challenge(verifier)}, "code_challenge_method": {"S256"},
	}
	for name, v := range change {
		if v == nil {
			delete(q, name)
		} else {
			q[name] = v
		}
	}
	return q
}

// browser returns a new browser, without cookies.
func (s *site) browser() *browser.Browser { return browser.New(s.http.Transport) }

// signIn lets a person sign in at the provider, and returns what the app gets to see: the query of its redirect URI.
func (s *site) signIn(t *testing.T, person string, change url.Values) url.Values {
	t.Helper()
	q := authorization(change)
	back, err := s.browser().Login(t.Context(), s.issuer+"/authorize?"+q.Encode(), browser.To(redirectURI),
		map[string]string{"text": person, "password": person})
	if err != nil {
		t.Fatal(err)
	}
	answer := back.Query()
	if answer.Get("iss") != s.issuer || answer.Get("state") != q.Get("state") {
		t.Errorf("authorization answer with iss %q and state %q, want %q and %q", answer.Get("iss"), answer.Get("state"), s.issuer, q.Get("state"))
	}
	return answer
}

// code lets a person sign in and returns the authorization code.
func (s *site) code(t *testing.T, person string, change url.Values) string {
	t.Helper()
	answer := s.signIn(t, person, change)
	if answer.Get("code") == "" {
		t.Fatalf("authorization answer = %v, want a code", answer)
	}
	return answer.Get("code")
}

// codeForm is the form that redeems a code, with changes.
func codeForm(code string, change url.Values) url.Values {
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirectURI}, "code_verifier": {verifier},
	}
	maps.Copy(form, change)
	return form
}

func refreshForm(token string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
}

// tokens are what a device holds after a login.
type tokens struct {
	access, refresh string
	set             claims.Set
}

// login logs a person in with app on a device.
func (s *site) login(t *testing.T, d *device, person string) tokens {
	t.Helper()
	return wantTokens(t, s.token(t, app, d, codeForm(s.code(t, person, nil), nil)))
}

// refreshed refreshes and wants success.
func (s *site) refreshed(t *testing.T, d *device, token string) tokens {
	t.Helper()
	return wantTokens(t, s.token(t, app, d, refreshForm(token)))
}

// introspect asks about a token.
func (s *site) introspect(t *testing.T, c caller, token string) answer {
	t.Helper()
	header, form := http.Header{}, url.Values{"token": {token}}
	c.authenticate(form, header)
	return s.post(t, "/introspect", form, header)
}

// revoke gives a token up.
func (s *site) revoke(t *testing.T, c caller, token string) answer {
	t.Helper()
	header, form := http.Header{}, url.Values{"token": {token}}
	c.authenticate(form, header)
	return s.post(t, "/revoke", form, header)
}

// revokeBy is revoke with a proof by the key of d.
func (s *site) revokeBy(t *testing.T, c caller, d *device, token string) answer {
	t.Helper()
	header, form := http.Header{}, url.Values{"token": {token}}
	c.authenticate(form, header)
	proof, err := d.Proof(dpop.ProofParams{Method: http.MethodPost, URL: s.issuer + "/revoke", Nonce: s.nonce(t), IssuedAt: s.clock.now()})
	if err != nil {
		t.Fatal(err)
	}
	header.Set("DPoP", proof)
	return s.post(t, "/revoke", form, header)
}

// remove removes a device, as an operator.
func (s *site) remove(t *testing.T, deviceURI string) {
	t.Helper()
	id, err := claims.Parse(deviceURI)
	if err != nil {
		t.Fatal(err)
	}
	if a := s.send(t, s.http, s.request(t, http.MethodDelete, s.admin+"/admin/devices/"+id.Domain()+"/"+id.Device(), "")); a.status != http.StatusOK {
		t.Fatalf("removal of a device = %v, want 200", a)
	}
}

func decode(t *testing.T, data []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}
