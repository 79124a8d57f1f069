package clients_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/internal/assertion"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/internal/oautherror"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
)

const (
	issuer   = "https://id.example.com"
	jwksURI  = "https://publisher.example.com/jwks"
	uncommon = "The client is unknown, is not registered for private_key_jwt, or none of its registered keys made this signature"
)

// published is what the clients with a JWKSURI publish.
type published struct {
	keys []assertion.Key
	err  error // instead of keys
}

func (p *published) Keys(_ context.Context, _ *clients.Client, has func([]assertion.Key) bool) ([]assertion.Key, error) {
	switch {
	case p.err != nil:
		return nil, p.err
	case !has(p.keys):
		return nil, clients.ErrNoKey
	}
	return p.keys, nil
}

// signers is a registry on a real database, with clients of every kind.
type signers struct {
	*clients.Registry
	store *sqlite.Store
	path  string
	now   time.Time
	// The keys of the client "signer", whose kid are "a" and "b"; that of "publisher"; and one of nobody.
	a, b, own, foreign *ecdsa.PrivateKey
	published          *published
}

func newSigners(t *testing.T) *signers {
	t.Helper()
	s := &signers{path: filepath.Join(t.TempDir(), "issuer.db"), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	for _, key := range []**ecdsa.PrivateKey{&s.a, &s.b, &s.own, &s.foreign} {
		var err error
		if *key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	s.published = &published{keys: []assertion.Key{{Kid: "own", Alg: "ES256", Public: s.own.Public()}}}
	s.open(t)
	t.Cleanup(func() { _ = s.store.Close() })
	return s
}

// open opens the database, again after it was closed.
func (s *signers) open(t *testing.T) {
	t.Helper()
	store, err := sqlite.Open(t.Context(), s.path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.store = store
	s.Registry, err = clients.New(clients.Config{
		Issuer: issuer, Store: store, Keys: s.published, TokenLife: time.Minute, Now: func() time.Time { return s.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(secret))
	err = s.Set([]clients.Client{
		{ID: "app"},
		{ID: "service", SecretSHA256: sum[:]},
		{ID: "signer", Keys: []assertion.Key{
			{Kid: "a", Alg: "ES256", Public: s.a.Public()}, {Kid: "b", Alg: "ES256", Public: s.b.Public()},
		}},
		{ID: "publisher", JWKSURI: jwksURI},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A change changes the header or the claims of an assertion. A nil value removes the member.
type change = map[string]any

// sign makes an assertion of the client id.
func (s *signers) sign(t *testing.T, key crypto.Signer, id string, header, set change) string {
	t.Helper()
	merge := func(members, change map[string]any) []byte {
		maps.Copy(members, change)
		maps.DeleteFunc(members, func(_ string, v any) bool { return v == nil })
		text, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	token, err := jose.Sign(key, "ES256", merge(change{"typ": "client-authentication+jwt", "alg": "ES256", "kid": "a"}, header),
		merge(change{
			"iss": id, "sub": id, "aud": issuer, "jti": rand.Text(), "iat": s.now.Unix(), "exp": s.now.Add(time.Minute).Unix(),
		}, set))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func assertionForm(token string, more ...string) url.Values {
	form := url.Values{"client_assertion": {token}, "client_assertion_type": {assertion.Type}}
	for i := 0; i < len(more); i += 2 {
		form.Add(more[i], more[i+1])
	}
	return form
}

// refusedAs checks that err refuses a request with this code and these words.
func refusedAs(t *testing.T, err error, code, says string) {
	t.Helper()
	var e *oautherror.Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Description, says) {
		t.Errorf("the request = %v, want %s: %s", err, code, says)
	}
}

// TestAssertion holds the life of a client assertion: it authenticates the client that signed it, and is accepted once. A
// transaction that fails does not consume it, and a restart does not make it valid again.
func TestAssertion(t *testing.T) {
	s := newSigners(t)
	for name, test := range map[string]struct {
		token, id string
		more      []string
	}{
		"first key":        {s.sign(t, s.a, "signer", nil, nil), "signer", nil},
		"second key":       {s.sign(t, s.b, "signer", change{"kid": "b"}, nil), "signer", nil},
		"with client_id":   {s.sign(t, s.a, "signer", nil, nil), "signer", []string{"client_id", "signer"}},
		"published key":    {s.sign(t, s.own, "publisher", change{"kid": "own"}, nil), "publisher", nil},
		"without typ":      {s.sign(t, s.a, "signer", change{"typ": nil}, nil), "signer", nil},
		"aud in an array":  {s.sign(t, s.a, "signer", nil, change{"aud": []string{issuer}}), "signer", nil},
		"the longest life": {s.sign(t, s.a, "signer", nil, change{"exp": s.now.Add(5 * time.Minute).Unix()}), "signer", nil},
		"clock a minute behind": {s.sign(t, s.a, "signer", nil, change{
			"iat": s.now.Add(-119 * time.Second).Unix(), "exp": s.now.Add(-59 * time.Second).Unix(),
		}), "signer", nil},
	} {
		t.Run(name, func(t *testing.T) {
			c, a, err := s.Authenticate(t.Context(), nil, assertionForm(test.token, test.more...))
			if err != nil || c.ID != test.id || a == nil {
				t.Fatalf("Authenticate = %v, %v, %v, want %s and an assertion", c, a, err, test.id)
			}
			if err := s.Spend(t.Context(), a); err != nil {
				t.Errorf("Spend = %v, want nil", err)
			}
			_, again, err := s.Authenticate(t.Context(), nil, assertionForm(test.token, test.more...))
			if err != nil {
				t.Fatal(err)
			}
			refusedAs(t, s.Spend(t.Context(), again), oautherror.InvalidClient, "The client assertion was used before")
		})
	}

	t.Run("jti of another client", func(t *testing.T) {
		for _, token := range []string{
			s.sign(t, s.a, "signer", nil, change{"jti": "the same"}),
			s.sign(t, s.own, "publisher", change{"kid": "own"}, change{"jti": "the same"}),
		} {
			_, a, err := s.Authenticate(t.Context(), nil, assertionForm(token))
			if err = errors.Join(err, s.Spend(t.Context(), a)); err != nil {
				t.Errorf("Spend = %v, want nil", err)
			}
		}
	})
	t.Run("same jti in another assertion", func(t *testing.T) {
		refusedAs(t, s.spend(t, s.sign(t, s.b, "signer", change{"kid": "b"}, change{"jti": "the same"})),
			oautherror.InvalidClient, "was used before")
	})
	t.Run("failed transaction and restart", func(t *testing.T) {
		token, failed := s.sign(t, s.a, "signer", nil, nil), errors.New("a later step failed")
		_, a, err := s.Authenticate(t.Context(), nil, assertionForm(token))
		if err != nil {
			t.Fatal(err)
		}
		err = s.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return errors.Join(a.Spend(ctx, tx), failed) })
		if !errors.Is(err, failed) {
			t.Fatalf("Update = %v, want %v", err, failed)
		}
		if err := s.spend(t, token); err != nil {
			t.Errorf("Spend = %v, want nil after a transaction that failed", err)
		}
		if err := s.store.Close(); err != nil {
			t.Fatal(err)
		}
		s.open(t)
		refusedAs(t, s.spend(t, token), oautherror.InvalidClient, "was used before")
	})
	t.Run("none", func(t *testing.T) {
		if err := s.Spend(t.Context(), nil); err != nil {
			t.Errorf("Spend = %v, want nil for a client that authenticates in another way", err)
		}
	})
	t.Run("database down", func(t *testing.T) {
		_, a, err := s.Authenticate(t.Context(), nil, assertionForm(s.sign(t, s.a, "signer", nil, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.store.Close(); err != nil {
			t.Fatal(err)
		}
		err = s.Spend(t.Context(), a)
		if e := (*oautherror.Error)(nil); err == nil || errors.As(err, &e) {
			t.Errorf("Spend = %v, want an error that refuses nothing", err)
		}
	})
}

// spend authenticates with an assertion and consumes it.
func (s *signers) spend(t *testing.T, token string) error {
	t.Helper()
	_, a, err := s.Authenticate(t.Context(), nil, assertionForm(token))
	if err != nil {
		t.Fatal(err)
	}
	return s.Spend(t.Context(), a)
}

// TestAssertionOnce races requests with one assertion: exactly one of them consumes it.
func TestAssertionOnce(t *testing.T) {
	s := newSigners(t)
	form := assertionForm(s.sign(t, s.a, "signer", nil, nil))
	const racers = 16
	results := make(chan error, racers)
	var start sync.WaitGroup
	start.Add(1)
	for range racers {
		go func() {
			start.Wait()
			_, a, err := s.Authenticate(t.Context(), nil, form)
			if err == nil {
				err = s.Spend(t.Context(), a)
			}
			results <- err
		}()
	}
	start.Done()
	accepted := 0
	for range racers {
		if err := <-results; err == nil {
			accepted++
		} else {
			refusedAs(t, err, oautherror.InvalidClient, "was used before")
		}
	}
	if accepted != 1 {
		t.Errorf("%d of %d requests were accepted, want 1", accepted, racers)
	}
}

// TestAssertionRefused checks each refusal of a client assertion. A refusal that depends on the client is the same for an unknown
// client, for one that does not sign, and for a wrong key.
func TestAssertionRefused(t *testing.T) {
	s := newSigners(t)
	good := s.sign(t, s.a, "signer", nil, nil)
	claim := func(name string, value any) url.Values {
		return assertionForm(s.sign(t, s.a, "signer", nil, change{name: value}))
	}
	head := func(name string, value any) url.Values {
		return assertionForm(s.sign(t, s.a, "signer", change{name: value}, nil))
	}
	signed := func(key crypto.Signer, id, kid string) url.Values {
		return assertionForm(s.sign(t, key, id, change{"kid": kid}, nil))
	}
	const (
		client  = oautherror.InvalidClient
		request = oautherror.InvalidRequest
		invalid = "The client assertion is not valid: "
	)
	basicHeader := basic("service:" + url.QueryEscape(secret))
	for name, test := range map[string]struct {
		header http.Header
		form   url.Values
		code   string
		says   string
	}{
		"aud of another server":     {nil, claim("aud", "https://other.example.com"), client, invalid + "aud: "},
		"aud of the token endpoint": {nil, claim("aud", issuer+"/token"), client, invalid + "aud: "},
		"two aud":                   {nil, claim("aud", []string{issuer, "https://other.example.com"}), client, invalid + "aud: "},
		"empty aud":                 {nil, claim("aud", []string{}), client, invalid + "aud: "},
		"no aud":                    {nil, claim("aud", nil), client, invalid + "aud: "},
		"another iss":               {nil, claim("iss", "service"), client, invalid + "iss: "},
		"no iss":                    {nil, claim("iss", nil), client, invalid + "iss: "},
		"another sub":               {nil, claim("sub", "service"), client, invalid + "iss: "},
		"no sub":                    {nil, claim("sub", nil), client, invalid + "sub: "},
		"expired":                   {nil, claim("exp", s.now.Add(-time.Minute).Unix()), client, invalid + "exp: "},
		"exp too far":               {nil, claim("exp", s.now.Add(time.Hour).Unix()), client, invalid + "exp: "},
		"exp no number":             {nil, claim("exp", "soon"), client, invalid + "exp: "},
		"no exp":                    {nil, claim("exp", nil), client, invalid + "exp: "},
		"iat in the future":         {nil, claim("iat", s.now.Add(2*time.Minute).Unix()), client, invalid + "iat: "},
		"nbf in the future":         {nil, claim("nbf", s.now.Add(2*time.Minute).Unix()), client, invalid + "nbf: "},
		"no jti":                    {nil, claim("jti", nil), client, invalid + "jti: "},
		"empty jti":                 {nil, claim("jti", ""), client, invalid + "jti: "},
		"long jti":                  {nil, claim("jti", strings.Repeat("j", 256)), client, invalid + "jti: "},
		"alg none":                  {nil, head("alg", "none"), client, invalid + "alg: "},
		"alg HS256":                 {nil, head("alg", "HS256"), client, invalid + "alg: "},
		"no alg":                    {nil, head("alg", nil), client, invalid + "alg: "},
		"access token":              {nil, head("typ", "at+jwt"), client, invalid + "typ: "},
		"proof":                     {nil, head("typ", "dpop+jwt"), client, invalid + "typ: "},
		"crit":                      {nil, head("crit", []string{"b64"}), client, invalid + "crit: "},
		"no JWT":                    {nil, assertionForm("x"), client, invalid},
		"empty":                     {nil, assertionForm(""), client, invalid},
		"truncated header":          {nil, assertionForm(good[5:]), client, invalid},
		"a megabyte":                {nil, assertionForm(good + strings.Repeat("A", 1<<20)), client, invalid},

		"unknown client":        {nil, signed(s.a, "nobody", "a"), client, uncommon},
		"client with a secret":  {nil, signed(s.a, "service", "a"), client, uncommon},
		"public client":         {nil, signed(s.a, "app", "a"), client, uncommon},
		"key of nobody":         {nil, signed(s.foreign, "signer", "a"), client, uncommon},
		"key of another client": {nil, signed(s.own, "signer", "a"), client, uncommon},
		"kid of another key":    {nil, signed(s.a, "signer", "b"), client, uncommon},
		"unknown kid":           {nil, signed(s.a, "signer", "c"), client, uncommon},
		"no kid of two keys":    {nil, head("kid", nil), client, uncommon},
		"alg of another kind":   {nil, head("alg", "RS256"), client, uncommon},
		"truncated signature":   {nil, assertionForm(good[:len(good)-2]), client, uncommon},
		"key not published":     {nil, signed(s.foreign, "publisher", "own"), client, uncommon},
		"kid not published":     {nil, signed(s.own, "publisher", "other"), client, uncommon},

		"no client_assertion":      {nil, url.Values{"client_assertion_type": {assertion.Type}}, request, "one of them is missing"},
		"no client_assertion_type": {nil, url.Values{"client_assertion": {good}}, request, "one of them is missing"},
		"another type": {nil, url.Values{"client_assertion": {good}, "client_assertion_type": {"urn:ietf:params:oauth:" +
			"client-assertion-type:saml2-bearer"}}, client, "The client_assertion_type must be " + assertion.Type},
		"client_id of another": {nil, assertionForm(good, "client_id", "service"), client, "The client_id and the sub of the client assertion differ"},
		"secret besides":       {nil, assertionForm(good, "client_secret", secret), request, "The client authenticates twice"},
		"empty secret besides": {nil, assertionForm(good, "client_secret", ""), request, "The client authenticates twice"},
		"Basic besides":        {basicHeader, assertionForm(good), request, "The client authenticates twice"},
		"two assertions": {nil, assertionForm(good, "client_assertion", s.sign(t, s.b, "signer", change{"kid": "b"}, nil)), request,
			"The parameter client_assertion is repeated"},
		"two types":     {nil, assertionForm(good, "client_assertion_type", assertion.Type), request, "client_assertion_type is repeated"},
		"two client_id": {nil, assertionForm(good, "client_id", "signer", "client_id", "signer"), request, "client_id is repeated"},
	} {
		t.Run(name, func(t *testing.T) {
			c, a, err := s.Authenticate(t.Context(), test.header, test.form)
			if c != nil || a != nil {
				t.Errorf("Authenticate = %v, %v, want neither client nor assertion", c, a)
			}
			refusedAs(t, err, test.code, test.says)
		})
	}
	if _, _, err := s.Authenticate(t.Context(), nil, assertionForm(good)); err != nil {
		t.Errorf("Authenticate = %v, want nil: a refused request consumes no assertion", err)
	}
}

// TestKeysUnreachable checks that an outage of a client's JWK Set is an error that refuses nothing, while other clients are served.
func TestKeysUnreachable(t *testing.T) {
	s := newSigners(t)
	outage := errors.New("connection refused")
	s.published.err = outage
	c, a, err := s.Authenticate(t.Context(), nil, assertionForm(s.sign(t, s.own, "publisher", change{"kid": "own"}, nil)))
	if e := (*oautherror.Error)(nil); c != nil || a != nil || !errors.Is(err, outage) || errors.As(err, &e) {
		t.Errorf("Authenticate = %v, %v, %v, want an error that refuses nothing", c, a, err)
	}
	if _, _, err := s.Authenticate(t.Context(), nil, assertionForm(s.sign(t, s.a, "signer", nil, nil))); err != nil {
		t.Errorf("Authenticate = %v, want nil for a client with registered keys", err)
	}
	s.published.err, s.published.keys = nil, nil
	_, _, err = s.Authenticate(t.Context(), nil, assertionForm(s.sign(t, s.own, "publisher", change{"kid": "own"}, nil)))
	refusedAs(t, err, oautherror.InvalidClient, uncommon)
}

// TestSecretRefused checks the refusals of a secret that TestAuthenticate does not: of clients that authenticate by keys, and of
// parameters that are repeated.
func TestSecretRefused(t *testing.T) {
	s := newSigners(t)
	for name, test := range map[string]struct {
		header http.Header
		form   url.Values
		code   string
		says   string
	}{
		"secret of a client with keys":          {nil, url.Values{"client_id": {"signer"}, "client_secret": {secret}}, "invalid_client", "credentials are wrong"},
		"secret of a client that publishes":     {nil, url.Values{"client_id": {"publisher"}, "client_secret": {secret}}, "invalid_client", "credentials are wrong"},
		"client with keys by its id alone":      {nil, url.Values{"client_id": {"signer"}}, "invalid_client", "credentials are wrong"},
		"client that publishes by its id alone": {nil, url.Values{"client_id": {"publisher"}}, "invalid_client", "credentials are wrong"},
		"client with keys by Basic":             {basic("signer:"), nil, "invalid_client", "credentials are wrong"},
		"secret of another client":              {nil, url.Values{"client_id": {"app"}, "client_secret": {secret}}, "invalid_client", "credentials are wrong"},
		"hash for the secret": {nil, url.Values{"client_id": {"service"}, "client_secret": {string(hash(secret))}}, "invalid_client",
			"credentials are wrong"},
		"secret with a space":        {nil, url.Values{"client_id": {"service"}, "client_secret": {secret + " "}}, "invalid_client", "credentials are wrong"},
		"id in another case":         {nil, url.Values{"client_id": {"Service"}, "client_secret": {secret}}, "invalid_client", "credentials are wrong"},
		"empty id by Basic":          {basic(":" + url.QueryEscape(secret)), nil, "invalid_client", "credentials are wrong"},
		"secret without an id":       {nil, url.Values{"client_secret": {secret}}, "invalid_client", "names no client"},
		"two secrets":                {nil, url.Values{"client_id": {"service"}, "client_secret": {secret, "x"}}, "invalid_request", "client_secret is repeated"},
		"two ids":                    {nil, url.Values{"client_id": {"service", "app"}, "client_secret": {secret}}, "invalid_request", "client_id is repeated"},
		"empty Authorization header": {http.Header{"Authorization": {""}}, nil, "invalid_client", "not well-formed HTTP Basic"},
		"Basic and an empty secret":  {basic("service:x"), url.Values{"client_secret": {""}}, "invalid_request", "authenticates twice"},
	} {
		t.Run(name, func(t *testing.T) {
			c, a, err := s.Authenticate(t.Context(), test.header, test.form)
			if c != nil || a != nil {
				t.Errorf("Authenticate = %v, %v, want neither client nor assertion", c, a)
			}
			refusedAs(t, err, test.code, test.says)
		})
	}
}

func hash(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}
