package oauth

import (
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/storage"
)

// An Authorization is a valid authorization request, whose user is to log in.
type Authorization struct {
	Client clients.Client
	// Domain is the domain of the login, and Provider the id of its OpenID provider. Provider is empty if the user must choose
	// one first, and Domain if they must choose that, too: see [Provider.Choices].
	Domain   string
	Provider string
	// Hint, Prompt, MaxAge and Locales go on to that provider: login_hint, prompt without consent (which is asked here), max_age
	// (nil if not given), and ui_locales.
	Hint    string
	Prompt  string
	MaxAge  *time.Duration
	Locales string
	// Request is to be stored, and passed to PrepareCode or Refuse when the user comes back.
	Request url.Values

	audience []string // of the tokens; nil if the domain is not known yet
}

// An AuthorizeError is a refused authorization request. Where the client may be told (its redirect URI is known to
// be its own), Location is the URL to send the browser to; otherwise it is empty and the user is shown a page.
type AuthorizeError struct {
	Err      *Error
	Location string
}

func (e *AuthorizeError) Error() string { return e.Err.Error() }
func (e *AuthorizeError) Unwrap() error { return e.Err }

// authorizeParameters are the parameters that the server reads; others are ignored (RFC 6749 §3.1).
var authorizeParameters = []string{
	"client_id", "redirect_uri", "response_type", "response_mode", "scope", "state", "resource",
	"code_challenge", "code_challenge_method", "dpop_jkt",
	"login_hint", "prompt", "max_age", "ui_locales", "im_domain", "im_provider", "im_device_name", "im_device_platform",
}

// prompts are the words of OpenID Connect Core 1.0 §3.1.2.1, and that of Prompt Create 1.0.
var prompts = []string{"none", "login", "consent", "select_account", "create"}

const (
	maxState   = 4096
	maxHint    = 1024
	maxLocales = 1024
)

// Authorize checks an authorization request (RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 9449 §10). Each parameter except resource
// occurs once. A refusal is an [*AuthorizeError]; any other error means that the server cannot know.
// With prompt=none, a request that leaves a choice to the user is refused.
func (p *Provider) Authorize(ctx context.Context, params url.Values) (*Authorization, error) {
	client, ok := p.clients.Client(params.Get("client_id"))
	if !ok {
		return nil, &AuthorizeError{Err: refuse(CodeInvalidRequest, "The app that sent you here is not known to this server.")}
	}
	request, err := p.unfold(ctx, client, params)
	if err != nil && !params.Has("redirect_uri") {
		client = nil // a request by reference alone has no redirect URI that is known
	}
	if err != nil {
		return nil, p.toldIfKnown(client, err, params)
	}
	a, err := p.authorize(client, request)
	if err != nil {
		return nil, err
	}
	if a.Provider == "" && Silent(a.Request) {
		return nil, p.Refuse(a.Request, CodeInteractionRequired,
			"The user has several domains or OpenID providers to choose from: "+
				"name them with im_domain and im_provider, or ask again without prompt=none.")
	}
	if params.Has("request_uri") {
		a.Request.Set("request_uri", params.Get("request_uri"))
	}
	return a, nil
}

// Silent reports whether a stored request says prompt=none: no page may be shown to the user, and a login that needs one is
// refused (OpenID Connect Core 1.0 §3.1.2.6).
func Silent(request url.Values) bool { return request.Get("prompt") == "none" }

// recheck checks a stored request again, against the client as it is now. A request_uri among its parameters is the
// name under which it was pushed, and stays in it.
func (p *Provider) recheck(request url.Values) (*clients.Client, *Authorization, error) {
	client, ok := p.clients.Client(request.Get("client_id"))
	if !ok {
		return nil, nil, &AuthorizeError{Err: refuse(CodeInvalidRequest, appGone)}
	}
	bare := maps.Clone(request)
	bare.Del("request_uri")
	a, err := p.authorize(client, bare)
	if err != nil {
		return nil, nil, err
	}
	if request.Has("request_uri") {
		a.Request.Set("request_uri", request.Get("request_uri"))
	}
	return client, a, nil
}

// authorize checks a request whose parameters are at hand.
func (p *Provider) authorize(client *clients.Client, params url.Values) (*Authorization, error) {
	redirect, ok := client.MatchRedirect(params.Get("redirect_uri"))
	if !ok {
		return nil, &AuthorizeError{Err: refuse(CodeInvalidRequest,
			"The app that sent you here did not say where to return to, or named a place that is not registered for it.")}
	}
	a, err := p.check(client, params)
	if err != nil {
		return nil, p.toldAtRedirect(err, redirect, params.Get("state"))
	}
	return a, nil
}

func (p *Provider) check(client *clients.Client, params url.Values) (*Authorization, error) {
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
		return nil, refuse(CodeUnsupportedResponseType, "The response_type must be code"+found(params, "response_type")+".")
	}
	if mode := params.Get("response_mode"); mode != "" && mode != "query" {
		return nil, refuse(CodeUnsupportedResponseMode, "The response_mode must be query"+found(params, "response_mode")+".")
	}
	if len(params.Get("state")) > maxState {
		return nil, refuse(CodeInvalidRequest, "The state is longer than 4096 bytes.")
	}
	if method := params.Get("code_challenge_method"); method != "" && method != "S256" {
		return nil, refuse(CodeInvalidRequest,
			"PKCE is required: the code_challenge_method must be S256"+found(params, "code_challenge_method")+".")
	}
	if params.Get("code_challenge_method") == "" || !isSHA256(params.Get("code_challenge")) {
		return nil, refuse(CodeInvalidRequest,
			"PKCE is required: send code_challenge_method=S256 and a code_challenge of 43 base64url characters.")
	}
	a := &Authorization{
		Client: *client, Hint: params.Get("login_hint"), Locales: params.Get("ui_locales"), Request: make(url.Values),
	}
	if len(a.Hint) > maxHint {
		return nil, refuse(CodeInvalidRequest, "The login_hint is longer than 1024 bytes.")
	}
	if len(a.Locales) > maxLocales {
		return nil, refuse(CodeInvalidRequest, "The ui_locales are longer than 1024 bytes.")
	}
	var err error
	if a.Domain, a.Provider, err = p.chooseDomain(client, params); err != nil {
		return nil, err
	}
	asked := strings.Fields(params.Get("prompt"))
	for _, word := range asked {
		if !slices.Contains(prompts, word) || word == "none" && len(asked) > 1 {
			return nil, refuse(CodeInvalidRequest,
				"The prompt must be none, or some of login, consent, select_account and create"+found(params, "prompt")+".")
		}
	}
	a.Prompt = strings.Join(slices.DeleteFunc(slices.Clone(asked), func(word string) bool { return word == "consent" }), " ")
	if age := params.Get("max_age"); age != "" {
		if len(age) > 10 {
			return nil, refuse(CodeInvalidRequest, "The max_age must be a whole number of seconds"+found(params, "max_age")+".")
		}
		seconds, err := strconv.ParseUint(age, 10, 31)
		if err != nil {
			return nil, refuse(CodeInvalidRequest, "The max_age must be a whole number of seconds"+found(params, "max_age")+".")
		}
		limit := time.Duration(seconds) * time.Second
		a.MaxAge = &limit
	}
	if err := checkDescription(params); err != nil {
		return nil, err
	}
	if err := checkScopes(client, params); err != nil {
		return nil, err
	}
	if a.audience, err = p.audience(client, a.Domain, p.resources(params)); err != nil {
		return nil, err
	}
	if err := checkKey(client, params); err != nil {
		return nil, err
	}
	for _, name := range authorizeParameters {
		if v, ok := params[name]; ok {
			a.Request[name] = v
		}
	}
	for name, value := range map[string]string{"im_domain": a.Domain, "im_provider": a.Provider} {
		if value != "" {
			a.Request.Set(name, value) // so that a later check comes to the same result
		}
	}
	for name, words := range map[string][]string{"scope": scopeList(params.Get("scope")), "prompt": asked} {
		if params.Has(name) {
			a.Request.Set(name, strings.Join(words, " ")) // stored without repeats and extra spaces
		}
	}
	return a, nil
}

// checkDescription checks how a client describes a new device.
func checkDescription(params url.Values) error {
	if name, ok := params["im_device_name"]; ok && !account.ValidDeviceName(name[0]) {
		return refuse(CodeInvalidRequest, "im_device_name must be 1 to 64 printable characters.")
	}
	if platform, ok := params["im_device_platform"]; ok && !account.ValidPlatform(platform[0]) {
		return refuse(CodeInvalidRequest, "im_device_platform must be one of "+listed(account.Platforms)+".")
	}
	return nil
}

// description is how a client describes a new device.
func description(params url.Values) storage.Device {
	return storage.Device{Name: params.Get("im_device_name"), Platform: params.Get("im_device_platform")}
}

// checkKey refuses a dpop_jkt that is not a thumbprint (RFC 9449 §10). Whether the key can log in is said only to a caller
// that proved to have it (see [Provider.Push]) or has logged in: the thumbprint of a device is in every token, and anybody
// could ask whether the device was removed.
func checkKey(client *clients.Client, params url.Values) error {
	jkt, given := params["dpop_jkt"]
	if !given && client.RequireDPoPJKT {
		return refuse(CodeInvalidRequest, "The client is registered to send dpop_jkt, and did not.")
	}
	if given && !isSHA256(jkt[0]) {
		return refuse(CodeInvalidRequest, "dpop_jkt must be the SHA-256 thumbprint of a key: 43 base64url characters.")
	}
	return nil
}

// keyUsable refuses a key that can no longer log in to a domain. If the domain is still to be chosen, that is checked when
// the user is known.
func (p *Provider) keyUsable(ctx context.Context, domain, jkt string) error {
	if domain == "" {
		return nil
	}
	err := p.accounts.KeyUsable(ctx, domain, jkt)
	if errors.Is(err, account.ErrKeyInUse) {
		return refuse(CodeInvalidRequest, errKeyInUse.Description)
	}
	return err
}

// isSHA256 reports whether s is 32 bytes in canonical base64url: an S256 challenge or a thumbprint.
func isSHA256(s string) bool {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(raw) == 32 && !strings.ContainsAny(s, "\r\n")
}
