package oauth

import (
	"errors"
	"net/url"
	"strings"

	"github.com/imidentity/issuer/clients"
)

// Refuse ends an authorization request that the user, or their provider, did not complete: code is an OAuth
// error code for the client. It returns where to send the browser, as an [*AuthorizeError].
func (p *Provider) Refuse(request url.Values, code, description string) error {
	client, _ := p.clients.Client(request.Get("client_id"))
	return p.toldIfKnown(client, refuse(code, description), request)
}

// RedirectURI is where a request that was found good ends; "" if the client does not allow that any more.
func (p *Provider) RedirectURI(request url.Values) string {
	client, ok := p.clients.Client(request.Get("client_id"))
	if !ok {
		return ""
	}
	redirect, _ := client.MatchRedirect(request.Get("redirect_uri"))
	return redirect
}

// toldIfKnown is toldAtRedirect where the request may not name a redirect URI of the client's.
func (p *Provider) toldIfKnown(client *clients.Client, err error, request url.Values) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	if client != nil {
		if redirect, ok := client.MatchRedirect(request.Get("redirect_uri")); ok {
			return p.toldAtRedirect(err, redirect, request.Get("state"))
		}
	}
	return &AuthorizeError{Err: e}
}

// toldAtRedirect turns a refusal into one that the client is told at its redirect URI (RFC 6749 §4.1.2.1).
func (p *Provider) toldAtRedirect(err error, redirect, state string) error {
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
