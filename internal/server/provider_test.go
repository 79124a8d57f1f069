package server_test

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/imidentity/issuer/internal/devidp"
	"github.com/imidentity/issuer/internal/jose"
)

type object = map[string]any

// A provider is the development provider behind a proxy that can change what passes. The proxy has a key of its own
// among the provider's, so that what it changes is well signed if it wants.
type provider struct {
	url, callback string
	key           *ecdsa.PrivateKey
	witness       *witness
	mu            sync.Mutex
	now           tampering
}

// tampering is what the proxy does. The zero value lets everything pass.
type tampering struct {
	answer   func(w http.ResponseWriter, r *http.Request) bool // true: it has answered itself
	callback func(url.Values)                                  // the query that the browser brings back
	idToken  func(header, claims object)                       // changed, and signed again with the proxy's key
	sign     func(header, claims object) string                // instead of that key
	userinfo func(object)
	token    func(object) // the answer of the token endpoint, changed last
}

// tamper changes what passes from now on until the test ends.
func (p *provider) tamper(t *testing.T, with tampering) {
	p.set(with)
	t.Cleanup(func() { p.set(tampering{}) })
}

func (p *provider) set(with tampering) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = with
}

func (p *provider) tampering() tampering {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

// down is a provider whose machine is not there; its login pages are.
func down(_ http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path == "/.well-known/openid-configuration" || r.URL.Path == "/oauth/token" {
		panic(http.ErrAbortHandler)
	}
	return false
}

func startProvider(t *testing.T, w *witness, callback string) *provider {
	t.Helper()
	front, behind := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	p := &provider{url: "http://" + front.Addr().String(), callback: callback, key: newKey(t), witness: w}
	idp, err := devidp.New(devidp.Config{
		Issuer:  p.url,
		Clients: []devidp.Client{{ID: "issuer", RedirectURIs: callbacks(callback)}},
		People:  []devidp.Person{devidp.Alice, devidp.Bob, {Subject: "dev-10023", Username: "two words"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: behind.Addr().String()})
		},
		ModifyResponse: p.modify,
	}
	servers := []*http.Server{{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer := p.tampering().answer; answer == nil || !answer(w, r) {
			proxy.ServeHTTP(w, r)
		}
	})}, {Handler: idp}}
	go servers[0].Serve(front)
	go servers[1].Serve(behind)
	t.Cleanup(func() {
		if err := errors.Join(servers[0].Close(), servers[1].Close()); err != nil {
			t.Error(err)
		}
	})
	return p
}

func (p *provider) modify(resp *http.Response) error {
	now := p.tampering()
	if to, err := resp.Location(); err == nil && strings.HasPrefix(to.String(), p.callback) && now.callback != nil {
		q := to.Query()
		now.callback(q)
		to.RawQuery = q.Encode()
		resp.Header.Set("Location", to.String())
	}
	if resp.StatusCode != http.StatusOK {
		return nil
	}
	switch resp.Request.URL.Path {
	case "/userinfo":
		return p.rewrite(resp, now.userinfo)
	case "/keys":
		return p.rewrite(resp, func(set object) {
			own, _ := jose.MarshalJWK(&p.key.PublicKey)
			jwk := object{}
			_ = json.Unmarshal(own, &jwk)
			jwk["kid"], jwk["use"] = "proxy", "sig"
			set["keys"] = append(set["keys"].([]any), jwk)
		})
	case "/oauth/token":
		return p.rewrite(resp, func(answer object) {
			for _, name := range []string{"access_token", "id_token"} {
				p.witness.keep("upstream "+name, answer[name].(string))
			}
			if now.token != nil {
				defer now.token(answer)
			}
			if now.idToken == nil {
				return
			}
			part := strings.Split(answer["id_token"].(string), ".")[1]
			payload, _ := base64.RawURLEncoding.DecodeString(part)
			header, claims := object{"alg": "ES256", "typ": "JWT", "kid": "proxy"}, object{}
			_ = json.Unmarshal(payload, &claims)
			now.idToken(header, claims)
			if now.sign == nil {
				now.sign = func(header, claims object) string { return sign(p.key, header, claims) }
			}
			answer["id_token"] = now.sign(header, claims)
			p.witness.keep("upstream id_token", answer["id_token"].(string))
		})
	}
	return nil
}

// rewrite changes the JSON object of an answer.
func (p *provider) rewrite(resp *http.Response, change func(object)) error {
	if change == nil {
		return nil
	}
	document := object{}
	if err := json.NewDecoder(resp.Body).Decode(&document); err != nil {
		return err
	}
	change(document)
	out, err := json.Marshal(document)
	if err != nil {
		return err
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(out)), int64(len(out))
	resp.Header.Set("Content-Length", strconv.Itoa(len(out)))
	return nil
}

// sign writes a JWS of any header and claims with a P-256 key.
func sign(key *ecdsa.PrivateKey, header, claims object) string {
	token, err := jose.Sign(key, jose.ES256, encode(header), encode(claims))
	if err != nil {
		panic(err) // of the test's own making
	}
	return token
}

// compact writes a JWS with a signature that is none.
func compact(header, claims object, signature string) string {
	b64 := base64.RawURLEncoding
	return b64.EncodeToString(encode(header)) + "." + b64.EncodeToString(encode(claims)) + "." + signature
}

func encode(v any) []byte {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err) // of the test's own making
	}
	return out
}
