package oauth_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/oauth"
)

const idToken = "urn:ietf:params:oauth:token-type:id_token"

// A said is what an ID token says. The tokens of these tests are its JSON: package login verifies real ones.
type said struct{ Provider, Subject, Handle, User, Nonce, SID, Sub string }

// saidTokens takes the tokens at their word, but for the nonce.
type saidTokens struct{ i *issuer }

func (saidTokens) Issued(token string, providers []string) []string {
	var s said
	if json.Unmarshal([]byte(token), &s) != nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(providers), func(p string) bool { return s.Provider != p && s.Provider != "any" })
}

func (v saidTokens) Verify(_ context.Context, provider, token, nonce string, _ []clients.IDTokenApp) (oauth.UpstreamLogin, error) {
	if err := v.i.faults.before("Verify"); err != nil {
		return oauth.UpstreamLogin{}, err
	}
	var s said
	if err := json.Unmarshal([]byte(token), &s); err != nil {
		return oauth.UpstreamLogin{}, err
	}
	if s.Nonce != nonce {
		return oauth.UpstreamLogin{}, &oauth.IDTokenError{Err: errors.New("nonce: not the one for this key")}
	}
	domain := map[string]string{"login": "example.com", "one": "two.example", "two": "two.example"}[provider]
	return oauth.UpstreamLogin{
		SignIn: account.SignIn{Domain: domain, Issuer: "https://login.example.com", Subject: s.Subject, Sub: s.Sub, Handle: s.Handle, User: s.User},
		SID:    s.SID, IssuedAt: v.i.clock.now(), AuthTime: v.i.clock.now(), ACR: "phr",
	}, nil
}

// exchanging exchanges an ID token that is bound to the key of a device.
func exchanging(d *device, s said) url.Values {
	sum := sha256.Sum256([]byte(verifier + "." + d.JKT()))
	s.Provider, s.Nonce = cmp.Or(s.Provider, "login"), cmp.Or(s.Nonce, base64.RawURLEncoding.EncodeToString(sum[:]))
	token, _ := json.Marshal(s)
	return url.Values{
		"grant_type": {oauth.GrantExchange}, "subject_token_type": {idToken}, "subject_token": {string(token)}, "im_nonce_verifier": {verifier},
	}
}

// withIDTokens registers a client for the ID tokens of three providers.
func withIDTokens(t *testing.T) *issuer {
	t.Helper()
	i := newIssuer(t, true)
	i.clients = append(i.clients, clients.Client{
		ID: "native", Grants: []string{oauth.GrantExchange, oauth.GrantRefresh}, Scopes: []string{"im:handle", "im:device"},
		Domains:  []string{"example.com", "two.example"},
		IDTokens: []clients.IDTokenApp{{Provider: "login", Audience: "app"}, {Provider: "one", Audience: "app"}, {Provider: "two", Audience: "app"}},
	})
	if err := i.registry.Set(i.clients); err != nil {
		t.Fatal(err)
	}
	return i
}

// TestIDToken holds that an ID token begins a session, once.
func TestIDToken(t *testing.T) {
	i, d := withIDTokens(t), newDevice(t)
	form := exchanging(d, said{Subject: "alice", Handle: "alice"})
	a := i.token(t, "native", d, form)
	set := claimsOf(t, a.AccessToken)
	if a.IssuedTokenType != accessToken || set.JKT != d.JKT() || set.Handle != "im:%40alice@example.com" || set.ACR != "phr" || set.SID == "" {
		t.Errorf("Token = %+v with %+v, want a session of alice", a, set)
	}
	i.token(t, "native", d, url.Values{"grant_type": {oauth.GrantRefresh}, "refresh_token": {a.RefreshToken}})
	_, err := i.Token(t.Context(), i.request(t, "native", d, form))
	refusal{code: "invalid_request", description: "The nonce of the ID token was used before"}.check(t, err)
}

// TestIDTokenRefused holds the refusals that need no real provider.
func TestIDTokenRefused(t *testing.T) {
	i, d := withIDTokens(t), newDevice(t)
	i.user(t, "bob")
	carol := i.user(t, "carol")
	if _, err := i.accounts.Disable(t.Context(), carol.Domain, carol.ID); err != nil {
		t.Fatal(err)
	}
	const invalid = "invalid_request"
	for name, test := range map[string]struct {
		client string // "" is native
		by     *device
		said   said
		change url.Values
		want   refusal
	}{
		"no proof":                 {want: refusal{err: dpop.ErrNoProof}},
		"client without ID tokens": {client: "app", by: d, want: refusal{code: invalid, description: "The client is not registered for ID tokens"}},
		"no token":                 {by: d, change: url.Values{"subject_token": nil}, want: refusal{code: invalid, description: "The parameter subject_token is missing"}},
		"an actor":                 {by: d, change: url.Values{"actor_token": {"x"}}, want: refusal{code: invalid, description: "An ID token begins a session of its user alone"}},
		"another type requested":   {by: d, change: url.Values{"requested_token_type": {idToken}}, want: refusal{code: invalid, description: "The requested_token_type must be"}},
		"no verifier":              {by: d, change: url.Values{"im_nonce_verifier": nil}, want: refusal{code: invalid, description: "The im_nonce_verifier must be 43 to 128 characters"}},
		"a platform of its own":    {by: d, change: url.Values{"im_device_platform": {"fridge"}}, want: refusal{code: invalid, description: "im_device_platform must be one of"}},
		"a scope too many":         {by: d, change: url.Values{"scope": {"introspect"}}, want: refusal{code: "invalid_scope", description: "The client is not registered for the scope"}},
		"a resource too many":      {by: d, change: url.Values{"resource": {"https://x.example"}}, want: refusal{code: "invalid_target", description: "The client is not registered for the resource"}},
		"another provider":         {by: d, said: said{Provider: "elsewhere"}, want: refusal{code: invalid, description: "The client is not registered for ID tokens of this issuer"}},
		"two providers":            {by: d, said: said{Provider: "any"}, change: url.Values{"im_domain": {"two.example"}}, want: refusal{code: invalid, description: "The client is registered for several OpenID providers"}},
		"another nonce":            {by: d, said: said{Nonce: "other"}, want: refusal{code: invalid, description: "The subject_token is not valid: nonce"}},
		"new without a handle":     {by: d, said: said{Subject: "new"}, want: refusal{code: invalid, description: "The user is new, and the ID token has no handle"}},
		"new with a bad handle":    {by: d, said: said{Subject: "new", Handle: "a b"}, want: refusal{code: invalid, description: "The user is new, and the handle of the ID token is not allowed"}},
		"new with a bad id":        {by: d, said: said{Subject: "new", Handle: "new", User: "a b/c"}, want: refusal{code: invalid, description: "The user is new, and the user id of the ID token is not allowed or taken"}},
		"linked by sub":            {by: d, said: said{Subject: "oid", Sub: "bob", Handle: "new"}, want: refusal{code: invalid, description: "The account of the user is not linked by the claim that identifies them now"}},
		"disabled":                 {by: d, said: said{Subject: "carol"}, want: refusal{code: invalid, description: "The account is disabled"}},
	} {
		t.Run(name, func(t *testing.T) {
			form := with(exchanging(d, test.said), test.change)
			i.refuses(t, i.request(t, cmp.Or(test.client, "native"), test.by, form), test.want)
		})
	}
	away := errors.New("the provider is away")
	i.faults.set(func(op string) error {
		if op == "Verify" {
			return away
		}
		return nil
	})
	if _, err := i.Token(t.Context(), i.request(t, "native", d, exchanging(d, said{Subject: "alice", Handle: "alice"}))); !errors.Is(err, away) {
		t.Errorf("Token = %v, want %v", err, away)
	}
	i.faults.set(nil)
	if _, err := i.accounts.Logout(t.Context(), account.Logout{
		Domain: "example.com", Issuer: provider, Subject: "alice", At: i.clock.now().Add(time.Second), SpentUntil: i.clock.now().Add(time.Hour),
	}); err != nil {
		t.Fatal(err)
	}
	// The transaction decides on these, after the proof was spent.
	for want, s := range map[string]said{
		"The OpenID provider has ended the login of this ID token": {Subject: "alice", Handle: "alice"},
		"The user is new, and the handle of the ID token is taken": {Subject: "new", Handle: "bob"},
	} {
		_, err := i.Token(t.Context(), i.request(t, "native", d, exchanging(d, s)))
		refusal{code: invalid, description: want}.check(t, err)
	}
}

// TestIDTokenFirstLoginLost holds that a first login that loses to another one of the same user is told to repeat the request, and then
// gets a session of that user.
func TestIDTokenFirstLoginLost(t *testing.T) {
	i, d, other := withIDTokens(t), newDevice(t), newDevice(t)
	form := exchanging(d, said{Subject: "alice", Handle: "alice"})
	var first oauth.TokenAnswer
	i.faults.once("Update", func() {
		first = i.token(t, "native", other, exchanging(other, said{Subject: "alice", Handle: "alice"}))
	})
	_, err := i.Token(t.Context(), i.request(t, "native", d, form))
	refusal{code: "temporarily_unavailable", description: "The same user is logging in twice for the first time"}.check(t, err)
	second := i.token(t, "native", d, form)
	if one, two := claimsOf(t, first.AccessToken), claimsOf(t, second.AccessToken); one.Subject != two.Subject || one.Device == two.Device {
		t.Errorf("tokens of %s at %s and of %s at %s, want two devices of one user", one.Subject, one.Device, two.Subject, two.Device)
	}
}
