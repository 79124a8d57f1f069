package oauth_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
)

// wantTold wants an [oauth.AuthorizeError] that the client is told at its redirect URI, or not.
func wantTold(t *testing.T, err error, want refusal, told bool) {
	t.Helper()
	want.check(t, err)
	var refused *oauth.AuthorizeError
	if !errors.As(err, &refused) {
		t.Errorf("%v is no AuthorizeError", err)
		return
	}
	if (refused.Location != "") != told {
		t.Errorf("Location = %q, want one: %t", refused.Location, told)
	}
	if !told {
		return
	}
	to, err := url.Parse(refused.Location)
	if q := to.Query(); err != nil || !strings.HasPrefix(refused.Location, callback+"?") || q.Get("error") != want.code ||
		q.Get("error_description") != refused.Err.Description || q.Get("iss") != issuerURL || q.Has("code") {
		t.Errorf("Location = %s, want the error at the client's redirect URI", refused.Location)
	}
}

// badRequests are what an authorization request is refused for, however it comes: by a browser, or pushed.
var badRequests = map[string]struct {
	client func(c *clients.Client) // change of the client's registration; may be nil
	change url.Values
	want   refusal
}{
	"a request object": {change: url.Values{"request": {"x"}},
		want: refusal{code: "request_not_supported", description: "Request objects are not accepted"}},
	"a client without the grant": {client: func(c *clients.Client) { c.Grants = []string{oauth.GrantRefresh} },
		want: refusal{code: "unauthorized_client", description: "The client is not registered for authorization_code."}},
	"no response type": {change: url.Values{"response_type": nil},
		want: refusal{code: "unsupported_response_type", description: "The response_type must be code, and is missing."}},
	"another response type": {change: url.Values{"response_type": {"token"}},
		want: refusal{code: "unsupported_response_type", description: "The response_type must be code, not 'token'."}},
	"another response mode": {change: url.Values{"response_mode": {"fragment"}},
		want: refusal{code: "unsupported_response_mode", description: "The response_mode must be query, not 'fragment'."}},
	"a long state": {change: url.Values{"state": {strings.Repeat("s", 4097)}},
		want: refusal{code: "invalid_request", description: "The state is longer than 4096 bytes."}},
	"a plain challenge": {change: url.Values{"code_challenge_method": {"plain"}},
		want: refusal{code: "invalid_request", description: "PKCE is required: the code_challenge_method must be S256, not 'plain'."}},
	"no challenge method": {change: url.Values{"code_challenge_method": nil},
		want: refusal{code: "invalid_request", description: "PKCE is required: send code_challenge_method=S256"}},
	"no challenge": {change: url.Values{"code_challenge": nil},
		want: refusal{code: "invalid_request", description: "PKCE is required: send code_challenge_method=S256"}},
	"a short challenge": {change: url.Values{"code_challenge": {"short"}},
		want: refusal{code: "invalid_request", description: "PKCE is required: send code_challenge_method=S256"}},
	"a long hint": {change: url.Values{"login_hint": {strings.Repeat("h", 1025)}},
		want: refusal{code: "invalid_request", description: "The login_hint is longer than 1024 bytes."}},
	"a long list of languages": {change: url.Values{"ui_locales": {strings.Repeat("d", 1025)}},
		want: refusal{code: "invalid_request", description: "The ui_locales are longer than 1024 bytes."}},
	"another domain": {change: url.Values{"im_domain": {"acme.example"}},
		want: refusal{code: "invalid_request", description: "The client is not registered for the im_domain 'acme.example'."}},
	"another provider": {change: url.Values{"im_provider": {"acme"}},
		want: refusal{code: "invalid_request", description: "The im_provider 'acme' is not a provider of example.com. These are: login."}},
	"a provider of none of its domains": {client: func(c *clients.Client) { c.Domains = []string{"example.com", "acme.example"} },
		change: url.Values{"im_provider": {"x"}},
		want: refusal{code: "invalid_request",
			description: "The im_provider 'x' is not a provider of example.com, acme.example. These are: login, acme."}},
	"an unknown prompt": {change: url.Values{"prompt": {"login shout"}},
		want: refusal{code: "invalid_request", description: "The prompt must be none, or some of login"}},
	"none and another prompt": {change: url.Values{"prompt": {"none login"}},
		want: refusal{code: "invalid_request", description: "The prompt must be none, or some of login"}},
	"an age in words": {change: url.Values{"max_age": {"soon"}},
		want: refusal{code: "invalid_request", description: "The max_age must be a whole number of seconds, not 'soon'."}},
	"a long age": {change: url.Values{"max_age": {"00000000001"}},
		want: refusal{code: "invalid_request", description: "The max_age must be a whole number of seconds"}},
	"a device name on two lines": {change: url.Values{"im_device_name": {"a\nb"}},
		want: refusal{code: "invalid_request", description: "im_device_name must be 1 to 64 printable characters."}},
	"a platform that is not listed": {change: url.Values{"im_device_platform": {"Android 14"}},
		want: refusal{code: "invalid_request",
			description: "im_device_platform must be one of android, ios, windows, macos, linux, web, tv, other."}},
	"an empty device name": {change: url.Values{"im_device_name": {""}},
		want: refusal{code: "invalid_request", description: "im_device_name must be 1 to 64 printable characters."}},
	"a scope of others": {change: url.Values{"scope": {"im:handle account"}},
		want: refusal{code: "invalid_scope", description: "The client is not registered for the scope 'account'. Its scopes are: im:handle, "}},
	"a resource of others": {change: url.Values{"resource": {"https://elsewhere.example"}},
		want: refusal{code: "invalid_target", description: "The client is not registered for the resource 'https://elsewhere.example'"}},
	"a thumbprint that is none": {change: url.Values{"dpop_jkt": {"x"}},
		want: refusal{code: "invalid_request", description: "dpop_jkt must be the SHA-256 thumbprint of a key: 43 base64url characters."}},
}

// TestAuthorizeRefused holds every refusal of an authorization request. The client is told, unless its redirect URI is in doubt.
func TestAuthorizeRefused(t *testing.T) {
	for name, test := range badRequests {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, true)
			if test.client != nil {
				i.register(t, "app", test.client)
			}
			_, err := i.Authorize(t.Context(), authorization(test.change))
			wantTold(t, err, test.want, true)
		})
	}
	for name, test := range map[string]struct {
		client func(c *clients.Client)
		change url.Values
		want   refusal
		told   bool
	}{
		"an unknown client": {change: url.Values{"client_id": {"nobody"}},
			want: refusal{code: "invalid_request", description: "The app that sent you here is not known to this server."}},
		"another redirect URI": {change: url.Values{"redirect_uri": {callback + "2"}},
			want: refusal{code: "invalid_request", description: "named a place that is not registered for it."}},
		"no redirect URI, of several": {client: func(c *clients.Client) { c.RedirectURIs = []string{callback, callback + "2"} },
			change: url.Values{"redirect_uri": nil},
			want:   refusal{code: "invalid_request", description: "did not say where to return to"}},
		"a request by reference elsewhere": {change: url.Values{"request_uri": {"https://app.example.com/request"}},
			want: refusal{code: "request_uri_not_supported", description: "Only a request_uri of this server's /par is accepted."}, told: true},
		"an unknown pushed request": {change: url.Values{"request_uri": {"urn:ietf:params:oauth:request_uri:x"}, "redirect_uri": nil},
			want: refusal{code: "invalid_request_uri", description: "The request_uri is unknown, used or expired, or another client's"}},
		"an unknown pushed request, with a redirect URI": {change: url.Values{"request_uri": {"urn:ietf:params:oauth:request_uri:x"}},
			want: refusal{code: "invalid_request_uri", description: "The request_uri is unknown, used or expired"}, told: true},
		"a client that pushes": {client: func(c *clients.Client) { c.RequirePAR = true },
			want: refusal{code: "invalid_request", description: "The client is registered to push its authorization requests"}, told: true},
		"a client that names its key": {client: func(c *clients.Client) { c.RequireDPoPJKT = true },
			want: refusal{code: "invalid_request", description: "The client is registered to send dpop_jkt, and did not."}, told: true},
		"a choice without a page": {client: func(c *clients.Client) { c.Domains = []string{"example.com", "acme.example"} },
			change: url.Values{"prompt": {"none"}},
			want:   refusal{code: "interaction_required", description: "several domains or OpenID providers to choose"}, told: true},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, true)
			if test.client != nil {
				i.register(t, "app", test.client)
			}
			_, err := i.Authorize(t.Context(), authorization(test.change))
			wantTold(t, err, test.want, test.told)
		})
	}
}

// TestPrepareRefused holds what a request is refused for when its user is known: by the question of consent, by the code, or by
// both.
func TestPrepareRefused(t *testing.T) {
	consent := refusal{code: "consent_required", description: "The user has to give consent: repeat the request without prompt=none."}
	inUse := refusal{code: "invalid_request", description: "The key belongs to another device or to one that was removed"}
	full := refusal{code: "access_denied", description: "The user has as many devices as allowed"}
	fill := func(t *testing.T, i *issuer, alice storage.User, _ *device) {
		for range 4 {
			i.login(t, alice, newDevice(t))
		}
	}
	for name, test := range map[string]struct {
		change url.Values
		jkt    bool // the request names the key of the device
		before func(t *testing.T, i *issuer, alice storage.User, d *device)
		other  bool // another domain's user logs in
		asks   refusal
		code   refusal
		page   bool // the client is not told
	}{
		"the client is gone": {before: func(t *testing.T, i *issuer, _ storage.User, _ *device) {
			if err := i.registry.Set(nil); err != nil {
				t.Fatal(err)
			}
		}, asks: refusal{code: "invalid_request", description: "The app that sent you here is not known any more."},
			code: refusal{code: "invalid_request", description: "The app that sent you here is not known any more."}, page: true},
		"the client lost the redirect URI": {before: func(t *testing.T, i *issuer, _ storage.User, _ *device) {
			i.register(t, "app", func(c *clients.Client) { c.RedirectURIs = []string{callback + "2"} })
		}, asks: refusal{code: "invalid_request", description: "named a place that is not registered for it."},
			code: refusal{code: "invalid_request", description: "named a place that is not registered for it."}, page: true},
		"the client lost a scope": {change: url.Values{"scope": {"introspect"}}, before: func(t *testing.T, i *issuer, _ storage.User, _ *device) {
			i.register(t, "app", func(c *clients.Client) { c.Scopes = []string{"im:handle"} })
		}, asks: refusal{code: "invalid_scope", description: "The client is not registered for the scope 'introspect'."},
			code: refusal{code: "invalid_scope", description: "The client is not registered for the scope 'introspect'."}},
		"another domain": {other: true,
			asks: refusal{code: "invalid_request", description: "The client was registered for other domains or OpenID providers meanwhile"},
			code: refusal{code: "invalid_request", description: "The client was registered for other domains or OpenID providers meanwhile"}},
		"another user's key": {jkt: true, before: func(t *testing.T, i *issuer, _ storage.User, d *device) {
			i.login(t, i.user(t, "bob"), d)
		}, asks: inUse, code: inUse},
		"consent without a page": {change: url.Values{"prompt": {"none"}}, before: func(t *testing.T, i *issuer, _ storage.User, _ *device) {
			i.register(t, "app", func(c *clients.Client) { c.FirstParty = false })
		}, asks: consent, code: consent},
		"no consent":                       {change: url.Values{"prompt": {"consent"}}, code: consent},
		"too many devices":                 {jkt: true, before: fill, code: full},
		"too many devices, without a page": {jkt: true, change: url.Values{"prompt": {"none"}}, before: fill, asks: full, code: full},
	} {
		t.Run(name, func(t *testing.T) {
			i, d := newIssuer(t, true), newDevice(t)
			alice := i.user(t, "alice")
			change := url.Values{}
			for name, values := range test.change {
				change[name] = values
			}
			if test.jkt {
				change.Set("dpop_jkt", d.JKT())
			}
			a, err := i.Authorize(t.Context(), authorization(change))
			if err != nil {
				t.Fatal(err)
			}
			if test.before != nil {
				test.before(t, i, alice, d)
			}
			if test.other {
				alice.Domain = "acme.example"
			}
			c, err := i.Consent(t.Context(), a.Request, alice)
			switch {
			case test.asks != (refusal{}):
				wantTold(t, err, test.asks, !test.page)
			case err != nil || !c.Needed:
				t.Errorf("Consent = %+v, %v, want that the user is asked", c, err)
			}
			needed, err := i.ConsentNeeded(t.Context(), a.Request, alice)
			switch {
			case test.asks != (refusal{}):
				wantTold(t, err, test.asks, !test.page)
			case err != nil || !needed.Needed:
				t.Errorf("ConsentNeeded = %+v, %v, want that the user is asked", needed, err)
			}
			_, err = i.PrepareCode(t.Context(), a.Request, oauth.Login{User: alice, Issuer: provider, AuthTime: i.clock.now()})
			wantTold(t, err, test.code, !test.page)
			if test.code == full && !errors.Is(err, oauth.ErrDeviceLimit) {
				t.Errorf("PrepareCode = %v, want one that is ErrDeviceLimit", err)
			}
		})
	}
}

// TestPushRefused holds every refusal of a pushed request. Nothing is stored then.
func TestPushRefused(t *testing.T) {
	for name, test := range badRequests {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, true)
			if test.client != nil {
				i.register(t, "app", test.client)
			}
			i.pushRefused(t, i.request(t, "app", nil, authorization(test.change)), test.want)
		})
	}
	wrong := refusal{code: "invalid_client", description: "The client is unknown or its credentials are wrong."}
	for name, test := range map[string]struct {
		client string
		change url.Values
		proof  func(t *testing.T, i *issuer, d *device, r *oauth.TokenRequest)
		before func(t *testing.T, i *issuer, d *device)
		want   refusal
	}{
		"an unknown client":     {client: "nobody", want: wrong},
		"the client asks often": {before: func(_ *testing.T, i *issuer, _ *device) { i.limits.client = errLimit }, want: refusal{err: errLimit}},
		"a request by reference": {change: url.Values{"request_uri": {"urn:ietf:params:oauth:request_uri:x"}},
			want: refusal{code: "invalid_request", description: "A pushed request cannot name a request_uri."}},
		"no redirect URI, of none": {client: "service", change: url.Values{"redirect_uri": nil},
			want: refusal{code: "invalid_request", description: "The redirect_uri is missing, and the client has none or several"}},
		"another redirect URI": {change: url.Values{"redirect_uri": {callback + "2"}},
			want: refusal{code: "invalid_request", description: "The request has '" + callback + "2'."}},
		"another key than dpop_jkt": {change: url.Values{"dpop_jkt": {challenge("x")}},
			want: refusal{code: "invalid_request", description: "dpop_jkt is not the thumbprint of the key of the proof."}},
		"a removed device": {before: func(t *testing.T, i *issuer, d *device) {
			i.remove(t, i.login(t, i.user(t, "alice"), d).AccessToken)
		}, want: refusal{code: "invalid_request", description: "The key belongs to another device or to one that was removed"}},
		"a removed device, in a domain to be chosen": {client: "wideapp", before: func(t *testing.T, i *issuer, d *device) {
			i.remove(t, i.login(t, i.user(t, "alice"), d).AccessToken)
		}},
		"another endpoint's proof": {proof: func(t *testing.T, i *issuer, d *device, r *oauth.TokenRequest) {
			r.Header = i.proofFor(t, d, "/token")
		}, want: refusal{err: dpop.ErrInvalidProof}},
		"another signature": {proof: func(_ *testing.T, _ *issuer, _ *device, r *oauth.TokenRequest) {
			p := r.Header.Get("DPoP")
			r.Header.Set("DPoP", p[:len(p)-8]+"AAAAAAAA")
		}, want: refusal{err: dpop.ErrInvalidProof}},
		"a proof that was used": {proof: func(t *testing.T, i *issuer, _ *device, r *oauth.TokenRequest) {
			if _, err := i.Push(t.Context(), *r, admitAll); err != nil {
				t.Fatal(err)
			}
		}, want: refusal{err: dpop.ErrReplayed}},
	} {
		t.Run(name, func(t *testing.T) {
			i, d := newIssuer(t, true), newDevice(t)
			wide := clientList()[0]
			wide.ID, wide.Domains = "wideapp", []string{"example.com", "acme.example"}
			i.clients = append(i.clients, wide)
			if err := i.registry.Set(i.clients); err != nil {
				t.Fatal(err)
			}
			if test.before != nil {
				test.before(t, i, d)
			}
			client := test.client
			if client == "" {
				client = "app"
			}
			r := i.pushing(t, client, d, authorization(test.change))
			if test.proof != nil {
				test.proof(t, i, d, &r)
			}
			if test.want != (refusal{}) {
				i.pushRefused(t, r, test.want)
			} else if _, err := i.Push(t.Context(), r, admitAll); err != nil {
				t.Errorf("Push = %v", err)
			}
		})
	}
	t.Run("too many are stored", func(t *testing.T) {
		i := newIssuer(t, true)
		_, err := i.Push(t.Context(), i.request(t, "app", nil, authorization(nil)),
			func(*clients.Client, [32]byte, time.Time, func() error) error { return errLimit })
		refusal{err: errLimit}.check(t, err)
	})
}

// TestPushedSpent holds that a pushed request is good for its client, for five minutes, and for one answer.
func TestPushedSpent(t *testing.T) {
	unknown := refusal{code: "invalid_request_uri", description: "The request_uri is unknown, used or expired, or another client's"}
	for name, test := range map[string]struct {
		client string
		before func(t *testing.T, i *issuer, alice storage.User, params url.Values)
		want   refusal
	}{
		"good":             {},
		"another client's": {client: "other", want: unknown},
		"expired":          {before: func(t *testing.T, i *issuer, _ storage.User, _ url.Values) { i.advance(t, 5*time.Minute) }, want: unknown},
		"used": {before: func(t *testing.T, i *issuer, alice storage.User, params url.Values) {
			if err := i.authorized(t, alice, params); err != nil {
				t.Fatal(err)
			}
		}, want: unknown},
		"refused by the user": {before: func(t *testing.T, i *issuer, _ storage.User, params url.Values) {
			for range 2 {
				i.update(t, func(ctx context.Context, tx storage.Tx) error { return i.Spend(ctx, tx, params) })
			}
		}, want: unknown},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, true)
			alice := i.user(t, "alice")
			a, err := i.Push(t.Context(), i.request(t, "app", nil, authorization(nil)), admitAll)
			if err != nil || a.ExpiresIn != 300 {
				t.Fatalf("Push = %+v, %v", a, err)
			}
			params := url.Values{"client_id": {"app"}, "request_uri": {a.RequestURI}}
			if test.before != nil {
				test.before(t, i, alice, params)
			}
			if test.client != "" {
				params.Set("client_id", test.client)
			}
			err = i.authorized(t, alice, params)
			if test.want != (refusal{}) {
				wantTold(t, err, test.want, false)
			} else if err != nil {
				t.Errorf("%v, want a code", err)
			}
		})
	}
	t.Run("two logins with one", func(t *testing.T) { // both began before one of them ended
		i := newIssuer(t, true)
		alice := i.user(t, "alice")
		a, err := i.Push(t.Context(), i.request(t, "app", nil, authorization(nil)), admitAll)
		if err != nil {
			t.Fatal(err)
		}
		pending := func() *oauth.PendingCode {
			t.Helper()
			request, err := i.Authorize(t.Context(), url.Values{"client_id": {"app"}, "request_uri": {a.RequestURI}})
			if err != nil {
				t.Fatal(err)
			}
			c, err := i.PrepareCode(t.Context(), request.Request, oauth.Login{User: alice, Issuer: provider})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		first, second := pending(), pending()
		i.update(t, first.Insert)
		wantTold(t, second.Refused(i.store.Update(t.Context(), second.Insert)), unknown, true)
	})
}

// pushRefused wants a refusal of a pushed request, and that nothing is stored.
func (i *issuer) pushRefused(t *testing.T, r oauth.TokenRequest, want refusal) {
	t.Helper()
	stored := false
	_, err := i.Push(t.Context(), r, func(_ *clients.Client, _ [32]byte, _ time.Time, store func() error) error {
		err := store()
		stored = err == nil
		return err
	})
	want.check(t, err)
	if stored {
		t.Error("the refused request was stored")
	}
}

// TestInsertRefused removes the client of a login while its code is prepared: no code is stored, and nobody is told but the user.
func TestInsertRefused(t *testing.T) {
	i := newIssuer(t, true)
	i.signing(t)
	c := i.pending(t, i.user(t, "alice"), url.Values{"client_id": {"signing"}})
	if _, _, err := i.registry.Remove(t.Context(), "signing", "test"); err != nil {
		t.Fatal(err)
	}
	wantTold(t, c.Refused(i.store.Update(t.Context(), c.Insert)),
		refusal{code: "invalid_request", description: "The app that sent you here is not known any more."}, false)
}

// TestRefuse holds where the browser goes when a login ends without a code.
func TestRefuse(t *testing.T) {
	i := newIssuer(t, true)
	i.register(t, "app", func(c *clients.Client) { c.RedirectURIs = append(c.RedirectURIs, callback+"?tenant=1") })
	denied := refusal{code: "access_denied", description: "The user said no."}
	good := authorization(nil)
	wantTold(t, i.Refuse(good, denied.code, denied.description), denied, true)
	wantTold(t, i.Refuse(authorization(url.Values{"client_id": {"nobody"}}), denied.code, denied.description), denied, false)
	wantTold(t, i.Refuse(authorization(url.Values{"redirect_uri": {callback + "2"}}), denied.code, denied.description), denied, false)
	var refused *oauth.AuthorizeError
	if err := i.Refuse(authorization(url.Values{"redirect_uri": {callback + "?tenant=1"}}), denied.code, denied.description); !errors.As(err,
		&refused) || !strings.HasPrefix(refused.Location, callback+"?tenant=1&error=") {
		t.Errorf("Refuse = %+v, want the parameters after those of the redirect URI", refused)
	}
	for client, want := range map[string]string{"app": callback, "nobody": "", "service": ""} {
		if got := i.RedirectURI(authorization(url.Values{"client_id": {client}})); got != want {
			t.Errorf("RedirectURI of %s = %q, want %q", client, got, want)
		}
	}
}

// TestChoices holds how the domain and the provider of a login are found, and what is left for the user to choose.
func TestChoices(t *testing.T) {
	i := newIssuer(t, true)
	i.register(t, "app", func(c *clients.Client) { c.Domains = []string{"example.com", "acme.example", "two.example"} })
	for name, test := range map[string]struct {
		change             url.Values
		domain, provider   string
		domains, providers []string
	}{
		"nothing":             {domains: []string{"example.com", "acme.example", "two.example"}},
		"a domain":            {change: url.Values{"im_domain": {"acme.example"}}, domain: "acme.example", provider: "acme"},
		"a hint":              {change: url.Values{"login_hint": {"im:%40bob@acme.example"}}, domain: "acme.example", provider: "acme"},
		"no hint":             {change: url.Values{"login_hint": {"bob"}}, domains: []string{"example.com", "acme.example", "two.example"}},
		"a provider":          {change: url.Values{"im_provider": {"acme"}}, domain: "acme.example", provider: "acme"},
		"a domain of several": {change: url.Values{"im_domain": {"two.example"}}, domain: "two.example", providers: []string{"one", "two"}},
		"both":                {change: url.Values{"im_domain": {"two.example"}, "im_provider": {"two"}}, domain: "two.example", provider: "two"},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := i.Authorize(t.Context(), authorization(test.change))
			if err != nil {
				t.Fatal(err)
			}
			domains, providers := i.Choices(a)
			if a.Domain != test.domain || a.Provider != test.provider || !slices.Equal(domains, test.domains) ||
				!slices.Equal(providers, test.providers) {
				t.Errorf("%q, %q, to choose among %q, %q", a.Domain, a.Provider, domains, providers)
			}
			if test.provider != "" {
				return
			}
			if a, err = i.Choose(t.Context(), a.Request, "two.example", "one"); err != nil || a.Domain != "two.example" || a.Provider != "one" {
				t.Errorf("Choose = %+v, %v, want the choice", a, err)
			}
			if a, err = i.Choose(t.Context(), a.Request, "acme.example", "acme"); err != nil || a.Domain != "two.example" {
				t.Errorf("Choose = %+v, %v, want that the first choice stays", a, err)
			}
		})
	}
	a, err := i.Authorize(t.Context(), authorization(nil))
	if err != nil {
		t.Fatal(err)
	}
	_, err = i.Choose(t.Context(), a.Request, "other.example", "login")
	wantTold(t, err, refusal{code: "invalid_request", description: "The client is not registered for the im_domain 'other.example'."}, true)
}

// TestAuthorize holds what of a request goes on to the provider, and to the user.
func TestAuthorize(t *testing.T) {
	i, d := newIssuer(t, true), newDevice(t)
	alice := i.user(t, "alice")
	i.login(t, alice, d)
	a, err := i.Authorize(t.Context(), authorization(url.Values{
		"prompt": {"consent  login"}, "max_age": {"60"}, "login_hint": {"@alice@example.com"}, "im_device_name": {"Phone"},
		"scope": {"im:handle  im:handle openid"}, "resource": {"im:example.com", "im:example.com"}, "dpop_jkt": {d.JKT()}, "unknown": {"x"},
	}))
	if err != nil || a.Prompt != "login" || a.MaxAge == nil || *a.MaxAge != time.Minute || a.Hint != "@alice@example.com" ||
		a.Request.Get("scope") != "im:handle" || a.Request.Get("prompt") != "consent login" || a.Request.Has("unknown") {
		t.Fatalf("Authorize = %+v, %v", a, err)
	}
	c, err := i.Consent(t.Context(), a.Request, alice)
	if err != nil || !c.Needed || c.Full || c.Device == nil || c.Device.JKT != d.JKT() || !c.KeyNamed || c.DeviceName != "Phone" ||
		!slices.Equal(c.Scopes, []string{"im:handle"}) || !slices.Equal(c.Audience, []string{"im:example.com"}) || c.Life != 72*time.Hour {
		t.Errorf("Consent = %+v, %v", c, err)
	}
}
