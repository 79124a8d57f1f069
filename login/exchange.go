package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/imidentity/issuer/internal/fetch"
)

// exchange redeems the code at the token endpoint (OpenID Connect Core §3.1.3) and returns the answer. Members that are
// not read here, such as expires_in, may be of any type.
func (p *Provider) exchange(ctx context.Context, meta *metadata, code, verifier string) (members, error) {
	// A code is redeemed at most once, so the request may be sent again if its connection was closed.
	answer, err := p.askToken(ctx, meta, url.Values{ // RFC 6749 §4.1.3
		"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {verifier}, "redirect_uri": {p.cfg.RedirectURL},
	}, true)
	if err != nil {
		if answer.sent {
			err = fmt.Errorf("%w: %w", ErrCodeSent, err)
		}
		return nil, err
	}
	if answer.text("error") == "invalid_grant" { // RFC 6749 §5.2
		return nil, &Rejected{Part: "code", Err: ErrCodeRefused}
	}
	if err := answer.check(); err != nil {
		return nil, &Rejected{Part: "code", Err: err}
	}
	return answer.members, nil
}

// A tokenAnswer is an answer of the token endpoint, of any status below 500.
type tokenAnswer struct {
	members
	status int
	// sent says that the provider may have processed the request. malformed is the fault of a body that is no JSON object.
	sent      bool
	malformed error
}

// refused returns the error of an answer that is no token; nil if it is one. Only the code is repeated: the description and the body may
// contain the request.
func (a tokenAnswer) refused() error {
	if a.status/100 != 2 || a.text("error") != "" {
		return fmt.Errorf("refused by the token endpoint: %d %s", a.status, printable(a.text("error"), 64))
	}
	return nil
}

// check returns an error unless the answer has an access token (RFC 6749 §5.1).
func (a tokenAnswer) check() error {
	err := a.refused()
	switch {
	case err != nil:
		return err
	case a.malformed != nil:
		return errors.New("the token endpoint's answer is not a JSON object")
	case a.text("access_token") == "":
		return errors.New("the token endpoint's answer has no access token")
	// Core §3.1.3.3. Without a type it is the one that OpenID Connect knows.
	case a.members["token_type"] != nil && !strings.EqualFold(a.text("token_type"), "Bearer"):
		return errors.New("the access token is not a Bearer token")
	}
	return nil
}

// askToken sends a form to the token endpoint. The error wraps [ErrUnavailable] if there was no complete answer; then sent says whether
// the provider may have processed the request. If it is repeatable, it may be sent again where it was not processed.
func (p *Provider) askToken(ctx context.Context, meta *metadata, form url.Values, repeatable bool) (a tokenAnswer, err error) {
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
	req, err := p.tokenRequest(fetch.For(ctx, fetch.ProviderToken), meta, form)
	if err != nil {
		return a, err
	}
	if repeatable {
		fetch.Repeatable(req)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		err = unavailable("token endpoint", err)
		a.sent = sent.Load() && !notProcessed(err)
		return a, err
	}
	defer resp.Body.Close()
	a.status, a.sent = resp.StatusCode, true
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return a, unavailable("token endpoint", err)
	}
	a.members, a.malformed = lenientMembers(body)
	return a, nil
}

// tokenRequest makes a request to the token endpoint, with the client authentication of RFC 6749 §2.3.1.
func (p *Provider) tokenRequest(ctx context.Context, meta *metadata, form url.Values) (*http.Request, error) {
	if !meta.basic {
		form.Set("client_id", p.cfg.ClientID)
		if p.cfg.ClientSecret != "" {
			form.Set("client_secret", p.cfg.ClientSecret)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, meta.token, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if meta.basic {
		req.SetBasicAuth(url.QueryEscape(p.cfg.ClientID), url.QueryEscape(p.cfg.ClientSecret))
	}
	return req, nil
}

// notProcessed reports whether the provider said that it did not process the request.
func notProcessed(err error) bool {
	var failed statusError
	return errors.As(err, &failed) && (failed == http.StatusTooManyRequests || failed == http.StatusServiceUnavailable)
}

// lenientMembers reads an unsigned JSON object that came from the provider over TLS. Of repeated members the last one counts.
func lenientMembers(data []byte) (members, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		return nil, err
	}
	m := members{}
	for name, value := range object {
		m.put(name, value)
	}
	return m, nil
}
