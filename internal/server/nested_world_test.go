package server_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

// An abroad is an issuer of another domain. Of it there is no more than its name and its key.
type abroad struct {
	issuer, domain, kid string
	key                 *ecdsa.PrivateKey
	now                 func() time.Time
}

// A world is a site with peers, whose keys stand in its settings.
type world struct {
	*site
	school, old, vouch, bridge *abroad
	rogue                      *abroad // nobody's peer
}

// startWorld runs a site that has peers. What fill says of the settings beats the rest.
func startWorld(t *testing.T, fill map[string]string) *world {
	t.Helper()
	w := &world{}
	var settings string
	for at, domain := range map[**abroad]string{
		&w.school: "school.example", &w.old: "old.example", &w.vouch: "vouch.example", &w.bridge: "bridge.example", &w.rogue: "rogue.example",
	} {
		a := &abroad{issuer: "https://id." + domain, domain: domain, kid: domain + "-1", key: newKey(t)}
		*at = a
		if a != w.rogue {
			settings += a.setting(t)
		}
	}
	all := map[string]string{"peers": "peers:\n" + settings}
	maps.Copy(all, fill)
	w.site = start(t, all)
	for _, a := range []*abroad{w.school, w.old, w.vouch, w.bridge, w.rogue} {
		a.now = w.clock.now
	}
	return w
}

// setting is the line of the settings that names the peer.
func (a *abroad) setting(t *testing.T) string {
	t.Helper()
	jwk, err := jose.MarshalJWK(a.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "jwks")
	set := fmt.Sprintf(`{"keys":[{"kid":%q,"use":"sig","alg":"ES256",%s]}`, a.kid, jwk[1:])
	if err := os.WriteFile(file, []byte(set), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("  - {domain: %s, issuer: %q, jwks_file: %q}\n", a.domain, a.issuer, file)
}

// sign is a [nested.SignFunc].
func (a *abroad) sign(typ string, payload []byte) (string, error) {
	return jose.Sign(a.key, jose.ES256, fmt.Appendf(nil, `{"typ":%q,"alg":"ES256","kid":%q}`, typ, a.kid), payload)
}

// states signs a statement for an hour, which change may make another one.
func (a *abroad) states(t *testing.T, typ, subject, audience string, change func(s *nested.Statement)) string {
	t.Helper()
	now := a.now().Truncate(time.Second)
	s := nested.Statement{
		Type: typ, Issuer: a.issuer, Subject: subject, Audience: []string{audience}, JTI: rand.Text(),
		IssuedAt: now.Add(-time.Minute), Expires: now.Add(time.Hour),
	}
	change(&s)
	token, err := s.Sign(a.sign)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// vouches signs an access token for ten minutes.
func (a *abroad) vouches(t *testing.T, jkt, audience string, change func(s *claims.Set)) string {
	t.Helper()
	now := a.now().Truncate(time.Second)
	s := claims.Set{
		Issuer: a.issuer, Subject: "im:n0b0dy@" + a.domain + ";id-type=user", Audience: []string{audience}, ClientID: "app",
		Scope: "im:handle im:device", JTI: rand.Text(), IssuedAt: now.Add(-time.Minute), Expires: now.Add(10 * time.Minute), JKT: jkt,
	}
	if change != nil {
		change(&s)
	}
	token, err := a.sign(nested.TypeAccessToken, s.AppendJSON(nil))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// says signs, with a user's own key under a delegation, a statement for half an hour.
func (s *site) says(t *testing.T, key *ecdsa.PrivateKey, typ, subject, delegation string, change func(s *nested.Statement)) string {
	t.Helper()
	sign, err := nested.UserKey(key)
	if err != nil {
		t.Fatal(err)
	}
	now := s.clock.now().Truncate(time.Second)
	v := nested.Statement{
		Type: typ, Issuer: subject, Subject: subject, Audience: []string{s.issuer}, JTI: rand.Text(),
		IssuedAt: now, Expires: now.Add(30 * time.Minute),
	}
	if v.Tokens, err = nested.Build(nested.Entry{Relation: nested.Cascade, Token: delegation}); err != nil {
		t.Fatal(err)
	}
	change(&v)
	token, err := v.Sign(sign)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// attested makes a statement as the operator, about a subject of a domain of the issuer's.
func (s *site) attested(t *testing.T, body object) (id, statement string) {
	t.Helper()
	req := s.request(t, http.MethodPost, s.admin+"/admin/statements", string(encode(body)))
	req.Header.Set("Content-Type", "application/json")
	a := s.send(t, s.http, req)
	if a.status != http.StatusCreated || a.text("token") == "" {
		t.Fatalf("POST /admin/statements = %v, want a statement", a)
	}
	return a.text("id"), a.text("token")
}

// endAttested withdraws a statement as the operator.
func (s *site) endAttested(t *testing.T, domain, id string) {
	t.Helper()
	wantStatus(t, s.operate(t, http.MethodDelete, "/admin/statements/"+id, url.Values{"domain": {domain}}), http.StatusNoContent)
}

// An inside is a token to embed.
type inside struct {
	rel, token string
	typ        string // what its entry calls it; "": a statement
}

func (i inside) entryType() string {
	if i.typ == "" {
		return typeJWT
	}
	return i.typ
}

// byDigest is the entry that names the token by its digest.
func (i inside) byDigest(t *testing.T) object {
	t.Helper()
	jws, err := jose.ParseCompact(i.token, jose.Limits{Total: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	var payload struct{ JTI string }
	decode(t, jws.Payload, &payload)
	sum := sha256.Sum256([]byte(i.token))
	return object{
		"type": i.entryType() + ":reference", "rel": i.rel, "jti": payload.JTI,
		"digest": object{"alg": "sha-256", "hash": hex.EncodeToString(sum[:])},
	}
}

// An embedding is a request for a token that encloses others.
type embedding struct {
	c       caller
	d       *device
	subject string // the client's own token, "" for none
	inside  []inside
	form    url.Values // what else is asked
	proof   string     // "" for a new one
}

// A how is a way in which the tokens are handed over.
type how string

const (
	asValue  how = "value"
	asDigest how = "digest"
	asJSON   how = "JSON"
)

// A nest is a token that encloses others, with those that go along beside it.
type nest struct {
	token string
	along []string
}

// embed asks for a token that encloses others.
func (s *site) embed(t *testing.T, e embedding, by how) (answer, nest) {
	t.Helper()
	form := url.Values{"grant_type": {grantEmbed}}
	if e.subject != "" {
		form.Set("subject_token", e.subject)
		form.Set("subject_token_type", typeAccess)
	}
	var n nest
	list := []object{}
	for _, i := range e.inside {
		if by == asDigest {
			list, n.along = append(list, i.byDigest(t)), append(n.along, i.token)
		} else {
			list = append(list, byValue(i.entryType(), i.rel, i.token))
		}
	}
	var a answer
	if by == asJSON {
		maps.Copy(form, e.form)
		body := object{"tokens": list}
		for name, values := range form {
			body[name] = values[0]
			if len(values) > 1 {
				body[name] = values
			}
		}
		a = s.tokenJSON(t, e.c, e.d, string(encode(body)))
	} else {
		form.Set("tokens", entries(t, list...))
		if by == asDigest {
			form.Set("im_along", string(encode(n.along)))
		}
		maps.Copy(form, e.form)
		a = s.tokenWith(t, e.c, e.d, form, e.proof)
	}
	n.token = a.text("access_token")
	return a, n
}

// tokenWith is [site.token] with a proof that is there already; "" for a new one.
func (s *site) tokenWith(t *testing.T, c caller, d *device, form url.Values, proof string) answer {
	t.Helper()
	header, form := http.Header{}, maps.Clone(form)
	c.authenticate(form, header)
	if proof == "" {
		proof = s.proof(t, d, "")
	}
	header.Set("DPoP", proof)
	return s.post(t, "/token", form, header)
}

// tokenJSON asks the token endpoint by a JSON body, to which who asks is added.
func (s *site) tokenJSON(t *testing.T, c caller, d *device, body string) answer {
	t.Helper()
	form, header := url.Values{}, http.Header{}
	c.authenticate(form, header)
	if id := form.Get("client_id"); id != "" {
		body = `{"client_id":"` + id + `",` + strings.TrimPrefix(body, "{")
	}
	req := s.request(t, http.MethodPost, "/token", body)
	req.Header = header
	req.Header.Set("Content-Type", "application/json")
	if d != nil {
		req.Header.Set("DPoP", s.proof(t, d, ""))
	}
	return s.send(t, s.http, req)
}

// nested wants a token that encloses others.
func (s *site) nested(t *testing.T, e embedding, by how) nest {
	t.Helper()
	a, n := s.embed(t, e, by)
	issued(t, a)
	return n
}

// about asks about a token that encloses others, with those that go along.
func (s *site) about(t *testing.T, c caller, n nest) answer {
	t.Helper()
	header, form := http.Header{}, url.Values{"token": {n.token}}
	if n.along != nil {
		form.Set("im_along", string(encode(n.along)))
	}
	c.authenticate(form, header)
	return s.post(t, "/introspect", form, header)
}

// layers are what an introspection says of enclosed tokens: "tokens[0] acts_for im-actor+jwt SUBJECT checked", and so on.
func layers(a answer) (list []string) {
	all, _ := a.json["tokens"].([]any)
	for _, l := range all {
		l, _ := l.(object)
		// What nobody was asked about is not called active.
		if active, said := l["active"]; said != (l["revocation"] == "checked") || said && active != true || l["iss"] == "" || l["jti"] == "" || l["exp"] == nil {
			list = append(list, "incomplete:")
		}
		list = append(list, fmt.Sprintf("%v %v %v %v %v", l["path"], l["rel"], l["typ"], l["sub"], l["revocation"]))
	}
	return list
}

// wantLayers wants a token to be active, with these inside, and returns the answer.
func (s *site) wantLayers(t *testing.T, n nest, want ...string) answer {
	t.Helper()
	a := s.about(t, peer, n)
	if a.status != http.StatusOK || a.json["active"] != true || !slices.Equal(layers(a), want) {
		t.Errorf("introspection = %v\nlayers %s\nwant %s", a, strings.Join(layers(a), "\n       "), strings.Join(want, "\n     "))
	}
	return a
}

// wantOver wants a token that encloses others to be inactive. Who may know is told the reason and the path of the layer at
// fault, and others nothing.
func (s *site) wantOver(t *testing.T, n nest, reason, path string) {
	t.Helper()
	d := newDevice(t)
	form := url.Values{"token": {n.token}}
	if n.along != nil {
		form.Set("im_along", string(encode(n.along)))
	}
	own := s.service(t, auditor, d, url.Values{"resource": {s.issuer}, "scope": {"introspect introspect:domain introspect:reason"}})
	a := s.held(t, d, own, http.MethodPost, "/introspect", form)
	if a.status != http.StatusOK || a.json["active"] != false || a.text("reason") != reason || a.text("path") != path {
		t.Errorf("introspection = %v, want inactive, %q, %q", a, reason, path)
	}
	if a := s.about(t, peer, n); a.status != http.StatusOK || strings.TrimSpace(a.body) != `{"active":false}` {
		t.Errorf("introspection = %v, want 200 {\"active\":false}", a)
	}
}

// wantRefusedAt wants a refusal of what was to be embedded, that names the token at fault by its path, and why.
func wantRefusedAt(t *testing.T, a answer, path, code string) {
	t.Helper()
	wantError(t, a, http.StatusBadRequest, "invalid_embedded_token")
	want := code
	if path != "" {
		want = path + ": " + code
	}
	if got := a.text("error_description"); got != want && !strings.HasPrefix(got, want+": ") {
		t.Errorf("error_description = %q, want %q", got, want)
	}
}

// without asks for something that is refused, and holds that nothing was written for it nor the proof spent: it is good for
// what is asked by spare afterwards, if there is anything.
func (s *site) without(t *testing.T, e embedding, by how, spare url.Values) answer {
	t.Helper()
	e.proof = s.proof(t, e.d, "")
	before := s.rows(t)
	a, _ := s.embed(t, e, by)
	if changes := sqlitetest.Changes(before, s.rows(t)); len(changes) > 0 {
		t.Errorf("rows changed:\n%s", strings.Join(changes, "\n"))
	}
	if spare == nil {
		return a
	}
	if a := s.tokenWith(t, e.c, e.d, spare, e.proof); a.status != http.StatusOK {
		t.Errorf("answer to the next request with the same proof = %v, want a token", a)
	}
	return a
}

// payloadOf returns the claims of any token, unchecked.
func payloadOf(t *testing.T, token string) json.RawMessage {
	t.Helper()
	jws, err := jose.ParseCompact(token, jose.Limits{Total: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return jws.Payload
}

// An offline is a verifier who has fetched the keys of an issuer once, and asks nobody. Of issuers it believes this
// one alone, for its own domains.
type offline struct {
	issuer string
	keys   []json.RawMessage
}

func (o offline) Key(_ context.Context, issuer, kid string) (crypto.PublicKey, string, error) {
	if issuer != o.issuer {
		return nil, "", claims.ErrIssuer
	}
	for _, jwk := range o.keys {
		key, err := jose.ParseJWK(jwk)
		if err == nil && key.JKT == kid {
			return key.Public, jose.ES256, nil
		}
	}
	return nil, "", claims.ErrIssuer
}

func (o offline) Speaks(_ context.Context, issuer, domain string) error {
	if issuer != o.issuer || !slices.Contains([]string{"example.com", "example.org"}, domain) {
		return claims.ErrDomain
	}
	return nil
}

// offline is what somebody can check who has fetched the keys of the issuer.
func (s *site) offline(t *testing.T) offline {
	t.Helper()
	var set struct{ Keys []json.RawMessage }
	decode(t, []byte(s.get(t, "/jwks").body), &set)
	return offline{s.issuer, set.Keys}
}
