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
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
	req, err := p.tokenRequest(ctx, meta, code, verifier)
	if err != nil {
		return nil, err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		if err = unavailable("token endpoint", err); sent.Load() && !notProcessed(err) {
			err = fmt.Errorf("%w: %w", ErrCodeSent, err)
		}
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCodeSent, unavailable("token endpoint", err))
	}
	answer, err := lenientMembers(body)
	switch {
	case answer.text("error") == "invalid_grant": // RFC 6749 §5.2
		return nil, &Rejected{Part: "code", Err: ErrCodeRefused}
	case resp.StatusCode/100 != 2 || answer.text("error") != "":
		// Only the code is repeated: the description and the body may contain the request.
		return nil, rejected("code", "refused by the token endpoint: %d %s", resp.StatusCode, printable(answer.text("error"), 64))
	case err != nil:
		return nil, rejected("code", "the token endpoint's answer is not a JSON object")
	case answer.text("access_token") == "":
		return nil, rejected("code", "the token endpoint's answer has no access token")
	// Core §3.1.3.3. Without a type it is the one that OpenID Connect knows.
	case answer["token_type"] != nil && !strings.EqualFold(answer.text("token_type"), "Bearer"):
		return nil, rejected("code", "the access token is not a Bearer token")
	}
	return answer, nil
}

// tokenRequest makes the request of RFC 6749 §4.1.3, with the client authentication of §2.3.1.
func (p *Provider) tokenRequest(ctx context.Context, meta *metadata, code, verifier string) (*http.Request, error) {
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {verifier}, "redirect_uri": {p.cfg.RedirectURL},
	}
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
	// A code is redeemed at most once, so the request may be sent again if its connection was closed.
	fetch.Repeatable(req)
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
