package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/login"
)

// providers checks the OpenID providers.
func (e *examination) providers(ctx context.Context) {
	for _, d := range e.cfg.Domains {
		for _, p := range d.Providers {
			if ctx.Err() != nil {
				return
			}
			e.provider(ctx, d, p)
		}
	}
}

// A discovery holds the checked part of a provider's metadata (OpenID Connect Discovery 1.0 §3).
type discovery struct {
	Issuer        string   `json:"issuer"`
	TokenEndpoint string   `json:"token_endpoint"`
	ResponseTypes []string `json:"response_types_supported"`
	PKCE          []string `json:"code_challenge_methods_supported"`
	Auth          []string `json:"token_endpoint_auth_methods_supported"`
	Scopes        []string `json:"scopes_supported"`
	Claims        []string `json:"claims_supported"`
}

func (e *examination) provider(ctx context.Context, d config.Domain, p config.Provider) {
	check := "provider " + p.ID
	redirect := e.cfg.Issuer + "/login/callback/" + p.ID
	r, err := e.get(ctx, strings.TrimSuffix(p.Issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		remedy, ok := e.forbidden(err)
		if !ok {
			remedy = "look whether it runs, and whether this machine may connect to it: nobody can sign in now"
		}
		e.found(Fail, check, remedy, "%s cannot be asked: %v", p.Issuer, cause(err))
		return
	}
	e.measured(p.Issuer, r)
	var doc discovery
	err = json.Unmarshal(r.body, &doc)
	switch {
	case r.StatusCode != http.StatusOK:
		e.found(Fail, check, "check the provider's issuer: its metadata is below that URL",
			"%s answers %d to /.well-known/openid-configuration", p.Issuer, r.StatusCode)
		return
	case err != nil || doc.Issuer == "":
		e.found(Fail, check, "check the provider's issuer: its metadata is below that URL", "%s does not answer with metadata", p.Issuer)
		return
	case doc.Issuer != p.Issuer:
		e.found(Fail, check, fmt.Sprintf("write issuer: %q, exactly so", doc.Issuer), "%s calls itself %q", p.Issuer, doc.Issuer)
		return
	case !slices.Contains(doc.ResponseTypes, "code"):
		e.found(Fail, check, "let it support the authorization code flow", "%s does not support the response type code", p.Issuer)
		return
	}
	// The same checks as the issuer's at a login.
	upstream, err := login.New(login.Config{
		ID: p.ID, Domain: d.Name, Issuer: p.Issuer, ClientID: p.ClientID, ClientSecret: string(p.ClientSecret),
		Scopes: p.Scopes, SubjectClaim: p.SubjectClaim, RedirectURL: redirect, HandleClaim: d.Claims.Handle, UserClaim: d.Claims.User,
	}, e.client, nil)
	if err == nil {
		_, err = upstream.Begin(ctx, login.BeginParams{})
	}
	if err != nil {
		e.found(Fail, check, "fix the provider, or choose another one", "%s cannot be used: %v", p.Issuer, err)
		return
	}
	if !e.credentials(ctx, check, p, doc, redirect) {
		return
	}
	if doc.PKCE != nil && !slices.Contains(doc.PKCE, "S256") || doc.PKCE == nil {
		e.found(Warn, check, "enable it there, if possible: it is sent at each login", "%s does not say that it supports PKCE with S256",
			p.Issuer)
	}
	if missing := missing(p.Scopes, doc.Scopes); missing != "" {
		e.found(Warn, check, "check scopes: the provider may refuse unknown ones", "%s does not name the scope %s", p.Issuer, missing)
	}
	wanted := []string{d.Claims.Handle}
	if p.SubjectClaim != "sub" {
		wanted = append(wanted, p.SubjectClaim)
	}
	if d.Claims.User != "" {
		wanted = append(wanted, d.Claims.User)
	}
	if missing := missing(wanted, doc.Claims); missing != "" {
		e.found(Warn, check, "check claims and scopes, or let the provider send it", "%s does not name the claim %s", p.Issuer, missing)
	}
	e.ok(check, "%s can be used; register the redirect URI %s there", p.Issuer, redirect)
}

// missing returns the words of wanted that a list lacks. A provider may leave out the list: then nothing is missing.
func missing(wanted, list []string) string {
	var not []string
	for _, w := range wanted {
		if list != nil && !slices.Contains(list, w) {
			not = append(not, w)
		}
	}
	return strings.Join(not, ", ")
}

// credentials redeems a made-up code. Most providers authenticate the client first, so invalid_client means that they do not
// know this issuer. A refusal of the code proves nothing: the provider may not have checked the client.
func (e *examination) credentials(ctx context.Context, check string, p config.Provider, doc discovery, redirect string) bool {
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {"doctor"}, "redirect_uri": {redirect},
		"code_verifier": {strings.Repeat("doctor-", 7)},
	}
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}}
	switch {
	case p.ClientSecret == "":
		form.Set("client_id", p.ClientID)
	case doc.Auth == nil || slices.Contains(doc.Auth, "client_secret_basic"):
		basic := new(http.Request)
		basic.Header = header
		basic.SetBasicAuth(url.QueryEscape(p.ClientID), url.QueryEscape(string(p.ClientSecret)))
	default:
		form.Set("client_id", p.ClientID)
		form.Set("client_secret", string(p.ClientSecret))
	}
	r, err := ask(ctx, e.client, http.MethodPost, doc.TokenEndpoint, header, strings.NewReader(form.Encode()))
	if err != nil {
		e.found(Fail, check, "check whether this machine may connect to it", "the token endpoint %s cannot be asked: %v", doc.TokenEndpoint,
			cause(err))
		return false
	}
	var a struct {
		Error string `json:"error"`
	}
	_ = json.Unmarshal(r.body, &a) // without JSON there is no error code
	if a.Error == "invalid_client" || a.Error == "unauthorized_client" || r.StatusCode == http.StatusUnauthorized {
		e.found(Fail, check, "check client_id and client_secret_file: they must be those that the provider gave",
			"%s does not accept the credentials of client %s", p.Issuer, p.ClientID)
		return false
	}
	return true
}
