package stepca_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/smallstep/certificates/authority/config"
	"github.com/smallstep/certificates/ca"
	"go.step.sm/crypto/minica"
	"golang.org/x/crypto/acme"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential/cert"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/browser"
	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/internal/wire"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
)

const (
	domain   = "wire.example"
	redirect = "http://127.0.0.1:7777/callback"
	secret   = "a-secret-of-the-test-0123456789abcdef"
)

// A world is an issuer, an OpenID provider, and step-ca.
type world struct {
	issuer, provider string // URLs
	acme             string // URL of the directory
	roots            *x509.CertPool
	https            *http.Client  // of step-ca
	key              keys.FixedKey // with which the issuer signs for step-ca
}

// start starts everything. The settings of the issuer name the provisioner, and those of step-ca the key of the issuer.
func start(t *testing.T, ctx context.Context) *world {
	t.Helper()
	dir := t.TempDir()
	at, caAt := freeAddress(t), freeAddress(t)
	w := &world{issuer: "http://" + at, acme: "https://" + caAt + "/acme/wire/directory"}
	w.makeKey(t, ctx, dir)
	w.provider = ready(t, node(t, ctx, "provider.mjs", "SECRET="+secret, "REDIRECT_URI="+w.issuer+"/login/callback/wire", "WIRE_URI="+redirect), "issuer")
	settings := write(t, dir, "issuer.yaml", `
issuer: `+w.issuer+`
listen: `+at+`
data: `+dir+`
development: true
log: {format: json}
outbound: {allow_networks: [127.0.0.0/8]}
domains:
  - name: `+domain+`
    system: wire
    wire: {provisioners: ["https://`+caAt+`/acme/wire"]}
    providers:
      - {id: wire, issuer: "`+w.provider+`", client_id: issuer, client_secret_file: `+write(t, dir, "secret", secret)+`, authoritative_handles: true}
clients:
  - id: app
    auth: none
    first_party: true
    redirect_uris: [http://127.0.0.1/callback]
    grants: [authorization_code]
    scopes: ["im:handle", "im:device", "im:credential"]
    domains: [`+domain+`]
`)
	ready(t, issuerCommand(ctx, "serve", "--config", settings), "listen")
	w.runCA(t, dir, caAt, key(t, ctx, settings))
	return w
}

// makeKey makes the key of the issuer in its data folder, before it starts: the issuer itself signs no token that has expired.
func (w *world) makeKey(t *testing.T, ctx context.Context, dir string) {
	t.Helper()
	kek, err := keys.CreateKEK(filepath.Join(dir, "kek"))
	if err != nil {
		t.Fatal(err)
	}
	store, err := sqlite.Open(ctx, filepath.Join(dir, "issuer.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = store.Update(ctx, func(ctx context.Context, tx storage.Tx) (err error) {
		w.key, _, err = keys.NewFixed(keys.NewSealer(kek), wire.KeyName).Make(ctx, tx)
		return err
	})
	if err = errors.Join(err, store.Close()); err != nil {
		t.Fatal(err)
	}
}

// resigned returns a token of the issuer with other claims, signed by the key of the issuer.
func (w *world) resigned(t *testing.T, token string, change map[string]any) string {
	t.Helper()
	var claims map[string]any
	payload(t, token, &claims)
	maps.Copy(claims, change)
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	text, err := w.key.Sign(jose.TypeWireToken, body)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// runCA runs step-ca with the configuration of docs/wire.md.
func (w *world) runCA(t *testing.T, dir, at, key string) {
	t.Helper()
	own, err := minica.New(minica.WithName("Wire"))
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(own.Signer)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(typ string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}))
	}
	w.roots = x509.NewCertPool()
	w.roots.AddCert(own.Root)
	w.https = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.roots}}}
	settings, err := json.Marshal(map[string]any{
		"root": write(t, dir, "root.pem", encode("CERTIFICATE", own.Root.Raw)), "crt": write(t, dir, "ca.pem", encode("CERTIFICATE", own.Intermediate.Raw)),
		"key": write(t, dir, "ca.key", encode("PRIVATE KEY", der)), "address": at, "dnsNames": []string{"127.0.0.1"},
		"logger": map[string]string{"format": "json"}, "db": map[string]string{"type": "bbolt", "dataSource": dir + "/ca.db"},
		"authority": map[string]any{"provisioners": []any{map[string]any{
			"type": "ACME", "name": "wire", "challenges": []string{"wire-oidc-01", "wire-dpop-01"},
			"options": map[string]any{
				"x509": map[string]string{"template": `{"subject": {{ toJson .Subject }},
					"uris": [{{ toJson .Oidc.preferred_username }}, {{ toJson .Dpop.sub }}], "keyUsage": ["digitalSignature"],
					"unknownExtKeyUsage": ["1.3.6.1.5.5.7.3.40"]}`},
				"wire": map[string]any{
					"oidc": map[string]any{
						"provider": map[string]string{"discoveryBaseUrl": w.provider},
						"config":   map[string]any{"clientId": "wireapp", "signatureAlgorithms": []string{"ES256", "RS256"}},
						"transform": `{"name": {{ toJson .preferred_username }}, ` +
							`"preferred_username": {{ toJson (print "wireapp://%40" .preferred_username "@` + domain + `") }}}`,
					},
					"dpop": map[string]string{"key": key, "target": w.issuer + "/wire/access-token"},
				},
			},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.LoadConfiguration(write(t, dir, "ca.json", string(settings)))
	if err != nil {
		t.Fatal(err)
	}
	server, err := ca.New(cfg, ca.WithQuiet(true))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Run() }()
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
		<-ended
	})
	for {
		resp, err := w.https.Get("https://" + at + "/health")
		if err == nil {
			_ = resp.Body.Close()
			return
		}
		select {
		case err := <-ended:
			t.Fatalf("step-ca: %v", err)
		case <-t.Context().Done():
			t.Fatal(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// A device is a device of a user of the issuer, with an account at step-ca.
type device struct {
	*world
	app         *client.Client
	token       string // the access token, for the issuer alone
	account     *acme.Client
	signer      *dpop.Signer // of the account key
	user        string
	uri, handle string // wireapp:
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newSigner(t *testing.T, key crypto.Signer) *dpop.Signer {
	t.Helper()
	s, err := dpop.NewSigner(key, "")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// device signs a user in at the issuer with a new device, and registers an account at step-ca.
func (w *world) device(t *testing.T, ctx context.Context, user string) *device {
	t.Helper()
	meta, err := client.Discover(ctx, http.DefaultClient, w.issuer)
	if err != nil {
		t.Fatal(err)
	}
	app := &client.Client{Server: meta, ID: "app", HTTP: &http.Client{
		Timeout: 30 * time.Second, Transport: &dpop.Transport{Signer: newSigner(t, newKey(t))},
	}}
	flow := app.Begin(redirect, url.Values{"scope": {"im:handle im:device im:credential"}, "resource": {w.issuer}})
	back, err := browser.New(nil).Login(ctx, flow.URL, browser.To(redirect), map[string]string{"login": user, "password": user})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := app.Finish(ctx, flow, back)
	if err != nil {
		t.Fatal(err)
	}
	var named struct{ Handle, Device string }
	payload(t, tokens.AccessToken, &named)
	uri := func(text string) string {
		id, err := claims.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return id.WireApp()
	}
	key := newKey(t)
	account := &acme.Client{Key: key, DirectoryURL: w.acme, HTTPClient: w.https}
	if _, err := account.Register(ctx, &acme.Account{}, acme.AcceptTOS); err != nil {
		t.Fatal(err)
	}
	return &device{w, app, tokens.AccessToken, account, newSigner(t, key), user, uri(named.Device), uri(named.Handle)}
}

func payload(t *testing.T, token string, into any) {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// order orders a certificate, and returns the order with its challenges.
func (d *device) order(t *testing.T, ctx context.Context) (o *acme.Order, oidc, dpop *acme.Challenge) {
	t.Helper()
	id := func(values map[string]string) string {
		values["name"], values["domain"], values["handle"] = d.user, domain, d.handle
		text, err := json.Marshal(values)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	o, err := d.account.AuthorizeOrder(ctx, []acme.AuthzID{
		{Type: "wireapp-user", Value: id(map[string]string{})}, {Type: "wireapp-device", Value: id(map[string]string{"client-id": d.uri})},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, authorization := range o.AuthzURLs {
		a, err := d.account.GetAuthorization(ctx, authorization)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range a.Challenges {
			switch c.Type {
			case "wire-oidc-01":
				oidc = c
			case "wire-dpop-01":
				dpop = c
			}
		}
	}
	if oidc == nil || dpop == nil {
		t.Fatalf("order = %+v, want both challenges of Wire", o)
	}
	return o, oidc, dpop
}

// wireToken gets the token of the issuer for a challenge.
func (d *device) wireToken(t *testing.T, ctx context.Context, c *acme.Challenge) string {
	t.Helper()
	resp, err := d.app.HTTP.Get(d.issuer + "/wire/nonce")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	proof, err := d.signer.WireProof(dpop.WireProofParams{
		Target: d.issuer + "/wire/access-token", Audience: c.URI, Challenge: c.Token, Device: d.uri, Handle: d.handle, Name: d.user,
		Nonce: resp.Header.Get("Replay-Nonce"), IssuedAt: time.Now().Add(-time.Hour), Expires: time.Now().Add(5 * time.Minute),
	})
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]string{"proof": proof})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.issuer+"/wire/access-token", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "DPoP "+d.token)
	req.Header.Set("Content-Type", "application/json")
	if resp, err = d.app.HTTP.Do(req); err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ Token string }
	text, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(text, &answer)
	}
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("POST /wire/access-token = %d %s, %v", resp.StatusCode, text, err)
	}
	return answer.Token
}

// idToken signs the user in at the OpenID provider, which puts what step-ca asks for into the ID token.
func (d *device) idToken(t *testing.T, ctx context.Context, c *acme.Challenge) string {
	t.Helper()
	asked, err := json.Marshal(map[string]any{"id_token": map[string]any{
		"keyauth": map[string]any{"essential": true, "value": c.Token + "." + d.signer.JKT()}, "acme_aud": map[string]any{"essential": true, "value": c.URI},
		"preferred_username": nil, "name": nil,
	}})
	if err != nil {
		t.Fatal(err)
	}
	verifier := base64.RawURLEncoding.EncodeToString(newSecret(t))
	challenge := sha256.Sum256([]byte(verifier))
	at := d.provider + "/auth?" + url.Values{
		"response_type": {"code"}, "client_id": {"wireapp"}, "redirect_uri": {redirect}, "scope": {"openid profile"}, "claims": {string(asked)},
		"state": {"s"}, "code_challenge_method": {"S256"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])},
	}.Encode()
	back, err := browser.New(nil).Login(ctx, at, browser.To(redirect), map[string]string{"login": d.user, "password": d.user})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.PostForm(d.provider+"/token", url.Values{
		"grant_type": {"authorization_code"}, "client_id": {"wireapp"}, "redirect_uri": {redirect}, "code": {back.Query().Get("code")},
		"code_verifier": {verifier},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		IDToken string `json:"id_token"`
	}
	text, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(text, &answer)
	}
	if err != nil || answer.IDToken == "" {
		t.Fatalf("the provider's token endpoint = %d %s, %v", resp.StatusCode, text, err)
	}
	return answer.IDToken
}

func newSecret(t *testing.T) []byte {
	t.Helper()
	var raw [32]byte
	if _, err := rand.Read(raw[:]); err != nil {
		t.Fatal(err)
	}
	return raw[:]
}

// answer sends the answer to a challenge, and returns what becomes of that.
func (d *device) answer(t *testing.T, ctx context.Context, c *acme.Challenge, member, token string) string {
	t.Helper()
	body, err := json.Marshal(map[string]string{member: token})
	if err != nil {
		t.Fatal(err)
	}
	sent := *c
	sent.Payload = body
	got, err := d.account.Accept(ctx, &sent)
	if err != nil {
		t.Fatal(err)
	}
	return got.Status
}

// oidName is that of the display name in the subject of a request for a certificate of Wire.
var oidName = asn1.ObjectIdentifier{2, 16, 840, 1, 113730, 3, 1, 241}

// request makes the request for the certificate.
func (d *device) request(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	uri := func(text string) *url.URL {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{Organization: []string{domain}, ExtraNames: []pkix.AttributeTypeAndValue{{Type: oidName, Value: d.user}}},
		URIs:    []*url.URL{uri(d.handle), uri(d.uri)},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestWire lets step-ca take the tokens of the issuer, and refuse each that is not for the challenge.
func TestWire(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	w := start(t, ctx)
	alice := w.device(t, ctx, "alice")
	other := w.device(t, ctx, "alice")
	bob := w.device(t, ctx, "bob")

	order, oidc, dpop := alice.order(t, ctx)
	token := alice.wireToken(t, ctx, dpop)
	if got := alice.answer(t, ctx, oidc, "id_token", alice.idToken(t, ctx, oidc)); got != acme.StatusValid {
		t.Fatalf("wire-oidc-01 = %s, want valid", got)
	}
	if got := alice.answer(t, ctx, dpop, "access_token", token); got != acme.StatusValid {
		t.Fatalf("wire-dpop-01 = %s, want valid", got)
	}
	key := newKey(t)
	chain, _, err := alice.account.CreateOrderCert(ctx, order.FinalizeURL, alice.request(t, key), true)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cert.Verify(ctx, chain, cert.Options{Roots: cert.Roots{domain: w.roots}, Unchecked: true, Development: true})
	if err != nil {
		t.Fatalf("Verify = %v", err)
	}
	if c.Identity.Device.WireApp() != alice.uri || c.Identity.Handle.WireApp() != alice.handle || !key.PublicKey.Equal(c.Key) {
		t.Errorf("certificate = %+v, want that of %s with the key of the request", c, alice.uri)
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil || leaf.Subject.CommonName != "alice" || !slices.Equal(leaf.Subject.Organization, []string{domain}) {
		t.Errorf("subject = %v, %v, want alice of %s", leaf.Subject, err, domain)
	}

	// Each of these has a good token of the issuer, or nearly.
	refused := func(name string, d *device, c *acme.Challenge, token string) {
		t.Run(name, func(t *testing.T) {
			if got := d.answer(t, ctx, c, "access_token", token); got != acme.StatusInvalid {
				t.Errorf("wire-dpop-01 = %s, want invalid", got)
			}
		})
	}
	challenge := func(d *device) *acme.Challenge {
		_, _, c := d.order(t, ctx)
		return c
	}
	refused("a token that was used", alice, challenge(alice), token)
	refused("of another device of the user, with another account key", alice, challenge(alice), other.wireToken(t, ctx, challenge(other)))
	refused("of another user", alice, challenge(alice), bob.wireToken(t, ctx, challenge(bob)))
	next := challenge(alice)
	moved := *next
	moved.Token = "3FpTOmNQvNfWDktNWt1oIJnjLE3MkyFb"
	refused("with another chal", alice, next, alice.wireToken(t, ctx, &moved))
	next, moved = challenge(alice), *next
	moved.Token = next.Token
	refused("with another aud", alice, next, alice.wireToken(t, ctx, &moved))
	next = challenge(alice)
	good := alice.wireToken(t, ctx, next)
	dot := strings.LastIndexByte(good, '.')
	refused("with another signature", alice, next, good[:dot-8]+"AAAAAAAA"+good[dot:])
	// These have the signature of the issuer. step-ca lets clocks differ by a minute, and tokens live for an hour at most.
	resigned := func(name string, change map[string]any) {
		next := challenge(alice)
		refused(name, alice, next, w.resigned(t, alice.wireToken(t, ctx, next), change))
	}
	now := time.Now()
	resigned("that has expired", map[string]any{"iat": now.Add(-7 * time.Minute).Unix(), "exp": now.Add(-2 * time.Minute).Unix()})
	resigned("that expires too late", map[string]any{"exp": now.Add(2 * time.Hour).Unix()})
	resigned("of another issuer", map[string]any{"iss": w.issuer})
	next = challenge(alice)
	same := w.resigned(t, alice.wireToken(t, ctx, next), nil) // or the three before were refused for being signed here
	if got := alice.answer(t, ctx, next, "access_token", same); got != acme.StatusValid {
		t.Errorf("wire-dpop-01 with the same claims, signed again = %s, want valid", got)
	}
	refused("the access token of the issuer", alice, challenge(alice), alice.token)
	// Another device that has the account key and the token, but no order of its own for that device.
	thief := &device{world: w, account: alice.account, signer: alice.signer, user: bob.user, uri: bob.uri, handle: bob.handle}
	_, _, c2 := thief.order(t, ctx)
	refused("for an order of another device", thief, c2, alice.wireToken(t, ctx, c2))
}
