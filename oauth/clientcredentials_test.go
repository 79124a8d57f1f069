package oauth_test

import (
	"net/url"
	"slices"
	"testing"

	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/oauth"
)

var serviceForm = url.Values{"grant_type": {oauth.GrantClientCredentials}}

func TestClientCredentials(t *testing.T) {
	i, d := newIssuer(t, true), newDevice(t)
	set := claimsOf(t, i.token(t, "service", d, serviceForm).AccessToken)
	if set.Subject != "service" || set.JKT != d.JKT() || set.Scope != "introspect introspect:domain" || set.SID != "" ||
		set.Handle != "" || !slices.Equal(set.Audience, []string{"im:example.com"}) {
		t.Errorf("claims = %+v, want those of the service, without the scopes of users", set)
	}
	if a := i.token(t, "bearer", nil, serviceForm); a.TokenType != "Bearer" || claimsOf(t, a.AccessToken).JKT != "" {
		t.Errorf("Token = %+v, want a bearer token", a)
	}
	narrow := with(serviceForm, url.Values{"scope": {"introspect"}, "resource": {"https://rooms.example.com"}})
	set = claimsOf(t, i.token(t, "service", d, narrow).AccessToken)
	if set.Scope != "introspect" || !slices.Equal(set.Audience, []string{"https://rooms.example.com"}) {
		t.Errorf("claims = %+v, want the scope and the audience that were asked for", set)
	}
}

func TestClientCredentialsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		client string
		bare   bool // without a proof
		change url.Values
		want   refusal
	}{
		"no proof": {bare: true, want: refusal{err: dpop.ErrNoProof}},
		"public client": {client: "public",
			want: refusal{code: "invalid_grant", description: "The grant is not valid for this client."}},
		"several domains": {client: "wide",
			want: refusal{code: "invalid_request",
				description: "The client has several domains: name one with im_domain. They are: example.com, acme.example."}},
		"another domain": {change: url.Values{"im_domain": {"acme.example"}},
			want: refusal{code: "invalid_request",
				description: "The client is not registered for the im_domain 'acme.example'. Its domains are: example.com."}},
		"a scope of users": {change: url.Values{"scope": {"im:handle"}},
			want: refusal{code: "invalid_scope",
				description: "The scope 'im:handle' was not granted. These were: introspect, introspect:domain."}},
		"a scope of another client": {change: url.Values{"scope": {"introspect:reason"}},
			want: refusal{code: "invalid_scope", description: "was not granted"}},
		"another resource": {change: url.Values{"resource": {"https://elsewhere.example"}},
			want: refusal{code: "invalid_target",
				description: "The client is not registered for the resource 'https://elsewhere.example'"}},
	} {
		t.Run(name, func(t *testing.T) {
			i, d, client := newIssuer(t, true), newDevice(t), test.client
			if client == "" {
				client = "service"
			}
			i.clients = append(i.clients, clients.Client{
				ID: "public", Grants: []string{oauth.GrantClientCredentials}, Domains: []string{"example.com"},
			})
			if err := i.registry.Set(i.clients); err != nil {
				t.Fatal(err)
			}
			if test.bare {
				d = nil
			}
			i.refuses(t, i.request(t, client, d, with(serviceForm, test.change)), test.want)
		})
	}
}
