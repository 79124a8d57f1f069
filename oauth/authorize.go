package oauth

import (
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/storage"
)

// An Authorization is an authorization request that was found good and waits for a person to log in.
type Authorization struct {
	Client   Client
	Domain   string
	Provider string // the id of the OpenID provider to log in at
	// Hint, Prompt and MaxAge go on to that provider: login_hint, prompt and max_age (nil if not given).
	Hint   string
	Prompt string
	MaxAge *time.Duration
	// Request is to be kept, and given to Finish or Refuse when the person comes back.
	Request url.Values
}

// An AuthorizeError is a refused authorization request. Where the client may be told (its redirect URI is known to
// be its own), Location is where to send the browser; else it is empty and the person is shown a page.
type AuthorizeError struct {
	Err      *Error
	Location string
}

func (e *AuthorizeError) Error() string { return e.Err.Error() }
func (e *AuthorizeError) Unwrap() error { return e.Err }

// What the server reads of an authorization request; everything else is ignored (RFC 6749 §3.1).
var authorizeParameters = []string{
	"client_id", "redirect_uri", "response_type", "response_mode", "scope", "state", "resource",
	"code_challenge", "code_challenge_method", "dpop_jkt",
	"login_hint", "prompt", "max_age", "im_domain", "im_provider", "im_device_name",
}

// prompts are the words of OpenID Connect Core 1.0 §3.1.2.1, and that of Prompt Create 1.0.
var prompts = []string{"none", "login", "consent", "select_account", "create"}

const (
	maxState      = 1024
	maxHint       = 1024
	maxDeviceName = 64
)

// Authorize checks an authorization request (RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 9449 §10). The parameters are each
// there once, but resource. A refusal is an [*AuthorizeError]; any other error means that the server cannot know.
func (p *Provider) Authorize(ctx context.Context, params url.Values) (*Authorization, error) {
	client, ok := p.Client(params.Get("client_id"))
	if !ok {
		return nil, &AuthorizeError{Err: refuse(CodeInvalidRequest, "The app that sent you here is not known to this server.")}
	}
	request, err := p.unfold(ctx, client, params)
	if err != nil && !params.Has("redirect_uri") {
		client = nil // who asked by reference alone is not known to wait anywhere
	}
	if err != nil {
		return nil, p.tellIfKnown(client, err, params)
	}
	a, err := p.authorize(ctx, client, request)
	if err == nil && params.Has("request_uri") {
		a.Request.Set("request_uri", params.Get("request_uri"))
	}
	return a, err
}

// authorize checks a request whose parameters are at hand.
func (p *Provider) authorize(ctx context.Context, client *Client, params url.Values) (*Authorization, error) {
	redirect, ok := client.matchRedirect(params.Get("redirect_uri"))
	if !ok {
		return nil, &AuthorizeError{Err: refuse(CodeInvalidRequest, "The app that sent you here did not say where to return to, or named a place that is not registered for it.")}
	}
	a, err := p.check(ctx, client, params)
	if err != nil {
		return nil, p.tell(err, redirect, params.Get("state"))
	}
	return a, nil
}

func (p *Provider) check(ctx context.Context, client *Client, params url.Values) (*Authorization, error) {
	if params.Has("request") {
		return nil, refuse(CodeRequestNotSupported, "Request objects are not accepted: send the parameters themselves.")
	}
	if params.Has("request_uri") {
		return nil, refuse(CodeRequestURINotSupported, "Only a request_uri of this server's /par is accepted.")
	}
	if !client.Allows(GrantCode) {
		return nil, refuse(CodeUnauthorizedClient, "The client is not registered for authorization_code.")
	}
	if params.Get("response_type") != "code" {
		return nil, refuse(CodeUnsupportedResponseType, words[CodeUnsupportedResponseType])
	}
	if mode := params.Get("response_mode"); mode != "" && mode != "query" {
		return nil, refuse(CodeUnsupportedResponseMode, words[CodeUnsupportedResponseMode])
	}
	if len(params.Get("state")) > maxState {
		return nil, refuse(CodeInvalidRequest, "The state is longer than 1024 octets.")
	}
	if params.Get("code_challenge_method") != "S256" || !isSHA256(params.Get("code_challenge")) {
		return nil, refuse(CodeInvalidRequest, "PKCE is required: send code_challenge_method=S256 and a code_challenge of 43 base64url characters.")
	}
	domain, err := p.domainFor(client, params)
	if err != nil {
		return nil, err
	}
	a := &Authorization{
		Client: *client, Domain: domain, Provider: p.domains[domain].Provider,
		Hint: params.Get("login_hint"), Prompt: params.Get("prompt"),
		Request: make(url.Values),
	}
	if id := params.Get("im_provider"); id != "" && id != a.Provider {
		return nil, refuse(CodeInvalidRequest, "The domain has no OpenID provider of the name in im_provider.")
	}
	if len(a.Hint) > maxHint {
		return nil, refuse(CodeInvalidRequest, "The login_hint is longer than 1024 octets.")
	}
	for _, word := range strings.Fields(a.Prompt) {
		if !slices.Contains(prompts, word) {
			return nil, refuse(CodeInvalidRequest, "prompt must be none, or some of login, consent, select_account and create.")
		}
	}
	if age := params.Get("max_age"); age != "" {
		if len(age) > 10 {
			return nil, refuse(CodeInvalidRequest, "max_age must be a whole number of seconds.")
		}
		seconds, err := strconv.ParseUint(age, 10, 31)
		if err != nil {
			return nil, refuse(CodeInvalidRequest, "max_age must be a whole number of seconds.")
		}
		limit := time.Duration(seconds) * time.Second
		a.MaxAge = &limit
	}
	if name, ok := params["im_device_name"]; ok && !validDeviceName(name[0]) {
		return nil, refuse(CodeInvalidRequest, "im_device_name must be 1 to 64 printable characters.")
	}
	for _, s := range scopeList(params.Get("scope")) {
		if !slices.Contains(client.Scopes, s) {
			return nil, refuse(CodeInvalidScope, words[CodeInvalidScope])
		}
	}
	if _, err := p.audience(client, domain, params["resource"]); err != nil {
		return nil, err
	}
	if err := p.checkKey(ctx, client, domain, params); err != nil {
		return nil, err
	}
	for _, name := range authorizeParameters {
		if v, ok := params[name]; ok {
			a.Request[name] = v
		}
	}
	a.Request.Set("im_domain", domain)
	for name, words := range map[string][]string{"scope": scopeList(params.Get("scope")), "prompt": strings.Fields(a.Prompt)} {
		if params.Has(name) {
			a.Request.Set(name, strings.Join(words, " ")) // kept without repeats and spaces
		}
	}
	return a, nil
}

// checkKey refuses a dpop_jkt that is none, or whose key can no longer log in (RFC 9449 §10).
func (p *Provider) checkKey(ctx context.Context, client *Client, domain string, params url.Values) error {
	jkt, given := params["dpop_jkt"]
	if !given && client.RequireDPoPJKT {
		return refuse(CodeInvalidRequest, "The client is registered to send dpop_jkt, and did not.")
	} else if !given {
		return nil
	}
	if !isSHA256(jkt[0]) {
		return refuse(CodeInvalidRequest, "dpop_jkt must be the SHA-256 thumbprint of a key: 43 base64url characters.")
	}
	err := p.accounts.KeyUsable(ctx, domain, jkt[0])
	if errors.Is(err, account.ErrKeyInUse) {
		return refuse(CodeInvalidRequest, errKeyInUse.Description)
	}
	return err
}

// A Login is what is known of the person when she comes back from her OpenID provider.
type Login struct {
	User        storage.User
	Issuer      string // the provider's iss
	UpstreamSID string
	AuthTime    time.Time
	ACR         string
	AMR         []string
}

// Finish ends an authorization request for which the person has logged in: it makes an authorization code and
// returns where to send the browser. The request is checked again, against the client as it is now.
func (p *Provider) Finish(ctx context.Context, request url.Values, login Login) (string, error) {
	client, ok := p.Client(request.Get("client_id"))
	if !ok {
		return "", &AuthorizeError{Err: refuse(CodeInvalidRequest, "The app that sent you here is not known any more.")}
	}
	pushed := request.Get("request_uri")
	request = maps.Clone(request)
	request.Del("request_uri")
	a, err := p.authorize(ctx, client, request)
	if err != nil {
		return "", err
	}
	redirect, _ := client.matchRedirect(request.Get("redirect_uri"))
	state := request.Get("state")
	jkt := request.Get("dpop_jkt")
	if jkt != "" {
		// Now that the person is known, so is whether the key is another's.
		if _, err := p.accounts.DeviceFor(ctx, login.User, jkt); errors.Is(err, account.ErrKeyInUse) {
			return "", p.tell(refuse(CodeInvalidRequest, errKeyInUse.Description), redirect, state)
		} else if err != nil {
			return "", err
		}
	}
	audience, err := p.audience(client, a.Domain, request["resource"])
	if err != nil {
		return "", err
	}
	scopes := scopeList(request.Get("scope"))
	if len(scopes) == 0 {
		for _, s := range []string{ScopeHandle, ScopeDevice} {
			if slices.Contains(client.Scopes, s) {
				scopes = append(scopes, s)
			}
		}
	}
	now := p.now()
	f := &flow{now: now, client: client, pushed: pushed, code: storage.Code{
		Domain: a.Domain, Client: client.ID, User: login.User.ID,
		RedirectURI: redirect, RedirectGiven: request.Has("redirect_uri"),
		Challenge: request.Get("code_challenge"), JKT: jkt, DeviceName: request.Get("im_device_name"),
		Scopes: scopes, Audience: audience,
		Issuer: login.Issuer, UpstreamSID: login.UpstreamSID, AuthTime: login.AuthTime, ACR: login.ACR, AMR: login.AMR,
		CreatedAt: now, ExpiresAt: now.Add(p.lifetimes.Code),
	}}
	code, err := p.makeCode(context.WithValue(ctx, flowKey{}, f), request)
	if err != nil {
		return "", p.tell(ours(err), redirect, state)
	}
	return p.location(redirect, state, url.Values{"code": {code}}), nil
}

// makeCode runs the authorization endpoint's half of the engine.
func (p *Provider) makeCode(ctx context.Context, request url.Values) (string, error) {
	form := url.Values{}
	for _, name := range []string{"client_id", "redirect_uri", "response_type"} {
		if v, ok := request[name]; ok {
			form[name] = v
		}
	}
	// fosite insists on a state of 8 characters; PKCE protects a request without. The client's own is added later.
	form.Set("state", "unused--")
	ar, err := p.engine.NewAuthorizeRequest(ctx, synthetic(http.MethodGet, http.Header{}, form))
	if err != nil {
		return "", err
	}
	response, err := p.engine.NewAuthorizeResponse(ctx, ar, session{})
	if err != nil {
		return "", err
	}
	return response.GetCode(), nil
}

// Refuse ends an authorization request that the person, or her provider, did not go through with: code is an OAuth
// error code for the client. It returns where to send the browser, as an [*AuthorizeError].
func (p *Provider) Refuse(request url.Values, code, description string) error {
	client, _ := p.Client(request.Get("client_id"))
	return p.tellIfKnown(client, refuse(code, description), request)
}

// RedirectURI is where a request that was found good ends; "" if the client does not allow that any more.
func (p *Provider) RedirectURI(request url.Values) string {
	client, ok := p.Client(request.Get("client_id"))
	if !ok {
		return ""
	}
	redirect, _ := client.matchRedirect(request.Get("redirect_uri"))
	return redirect
}

// tellIfKnown is tell where the request may not name a redirect URI of the client's.
func (p *Provider) tellIfKnown(client *Client, err error, request url.Values) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	if client != nil {
		if redirect, ok := client.matchRedirect(request.Get("redirect_uri")); ok {
			return p.tell(err, redirect, request.Get("state"))
		}
	}
	return &AuthorizeError{Err: e}
}

// tell makes of a refusal one that the client is told at its redirect URI (RFC 6749 §4.1.2.1).
func (p *Provider) tell(err error, redirect, state string) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	return &AuthorizeError{Err: e, Location: p.location(redirect, state, url.Values{
		"error": {e.Code}, "error_description": {e.Description},
	})}
}

// location adds an answer to a redirect URI, with the state as it came and the issuer (RFC 9207 §2).
func (p *Provider) location(redirect, state string, answer url.Values) string {
	answer.Set("iss", p.issuer)
	if state != "" {
		answer.Set("state", state)
	}
	separator := "?"
	if strings.Contains(redirect, "?") {
		separator = "&"
	}
	return redirect + separator + answer.Encode()
}

// hintedDomain returns the domain of a login_hint that is an identifier in one of domains, else "".
func hintedDomain(hint string, domains []string) string {
	if hint == "" {
		return ""
	}
	id, err := claims.ParseLenient(hint)
	if err != nil || !slices.Contains(domains, id.Domain()) {
		return ""
	}
	return id.Domain()
}

// isSHA256 reports whether s is 32 octets in canonical base64url: an S256 challenge or a thumbprint.
func isSHA256(s string) bool {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(raw) == 32 && !strings.ContainsAny(s, "\r\n")
}

func validDeviceName(name string) bool {
	n := utf8.RuneCountInString(name)
	return utf8.ValidString(name) && n >= 1 && n <= maxDeviceName &&
		strings.IndexFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}
