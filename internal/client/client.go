// Package client has the clients of the issuer that the command line and the demo use: a small OAuth client with its session file,
// and the admin API at the Unix socket.
//
// The OAuth client knows discovery, the authorization code flow with PKCE and PAR, the device grant, refresh, client credentials,
// revocation, and the credentials of OpenID4VCI.
// It makes no DPoP proofs: give it an http.Client with a dpop.Transport.
package client

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/assertion"
	"github.com/imidentity/issuer/types/api"
)

// maxAnswer is how many bytes are read of an answer of the public endpoints.
const maxAnswer = 1 << 20

// A Client is one OAuth client at one issuer.
type Client struct {
	// Server is the issuer's metadata, as Discover returned it.
	Server Metadata
	// ID is the client id. The client authenticates with assertions by Key, under KID if that is not empty, or else with
	// Secret. With neither it is a public client.
	ID     string
	Secret string
	Key    crypto.Signer
	KID    string
	// HTTP sends the requests. Nil means [http.DefaultClient].
	HTTP *http.Client
	// Now reports the time, for assertions. Nil means [time.Now].
	Now func() time.Time
}

// Metadata is the part of the server metadata (RFC 8414) that the client uses.
type Metadata struct {
	Issuer                string `json:"issuer"`
	AuthorizationEndpoint string `json:"authorization_endpoint"`
	TokenEndpoint         string `json:"token_endpoint"`
	RevocationEndpoint    string `json:"revocation_endpoint"`
	PAREndpoint           string `json:"pushed_authorization_request_endpoint"` // empty if there is none
	DeviceEndpoint        string `json:"device_authorization_endpoint"`         // empty if there is none
	JWKSURI               string `json:"jwks_uri"`
}

// Tokens is a successful answer of the token endpoint.
type Tokens struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token"`
	Scope        string `json:"scope"`
}

// An Error is an OAuth error of the server (RFC 6749 §5.2).
type Error struct {
	Status      int
	Code        string
	Description string
}

// Temporary reports whether the server decided nothing, so that the request may be repeated.
func (e *Error) Temporary() bool {
	return e.Status >= http.StatusInternalServerError || e.Status == http.StatusTooManyRequests ||
		e.Code == "temporarily_unavailable" || e.Code == "server_error"
}

func (e *Error) Error() string {
	return fmt.Sprintf("the issuer answered %d %s: %s", e.Status, e.Code, e.Description)
}

// Safe reports whether codes and tokens may be sent to a URL: by https, or to this machine.
func Safe(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || err == nil && ip.IsLoopback())
}

// Discover reads the metadata of an issuer, and checks that it names that issuer (RFC 8414 §3.3).
func Discover(ctx context.Context, c *http.Client, issuer string) (Metadata, error) {
	var m Metadata
	if err := discover(ctx, c, issuer, "oauth-authorization-server", &m); err != nil {
		return Metadata{}, err
	}
	if m.Issuer != issuer {
		return Metadata{}, errors.New("client: discover: the metadata is another issuer's")
	}
	return m, nil
}

// discover reads the well-known document of an issuer into metadata. The well-known path stands before the path of the issuer (RFC 8414
// §3.1).
func discover(ctx context.Context, c *http.Client, issuer, name string, metadata any) error {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" {
		return errors.New("client: the issuer is not an absolute URL")
	}
	u.Path = "/.well-known/" + name + strings.TrimSuffix(u.Path, "/")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fmt.Errorf("client: discover: %w", err)
	}
	if err := send(c, req, maxAnswer, metadata); err != nil {
		return fmt.Errorf("client: discover: %w", err)
	}
	return nil
}

// A Flow is an authorization request in progress (RFC 6749 §4.1).
type Flow struct {
	// URL is the URL to open in the user's browser.
	URL         string
	params      url.Values
	redirectURI string
	state       string
	verifier    string
}

// Answers reports whether a URL to which the browser was redirected answers this request: it has the state of the request.
func (f *Flow) Answers(response *url.URL) bool {
	state := response.Query()["state"]
	return len(state) == 1 && state[0] == f.state
}

// Begin makes an authorization request. Extra has further parameters, such as dpop_jkt and scope.
func (c *Client) Begin(redirectURI string, extra url.Values) *Flow {
	f := &Flow{redirectURI: redirectURI, state: rand.Text(), verifier: rand.Text() + rand.Text()}
	sum := sha256.Sum256([]byte(f.verifier))
	q := url.Values{
		"response_type":         {"code"},
		"client_id":             {c.ID},
		"redirect_uri":          {redirectURI},
		"state":                 {f.state},
		"code_challenge":        {base64.RawURLEncoding.EncodeToString(sum[:])},
		"code_challenge_method": {"S256"},
	}
	for name, v := range extra {
		q[name] = v
	}
	f.params, f.URL = q, c.authorization(q)
	return f
}

func (c *Client) authorization(q url.Values) string {
	return c.Server.AuthorizationEndpoint + "?" + q.Encode()
}

// Push sends the parameters of a request to the server (RFC 9126 §2), so that the browser carries only a reference.
func (c *Client) Push(ctx context.Context, f *Flow) error {
	var answer struct {
		RequestURI string `json:"request_uri"`
	}
	if err := c.post(ctx, c.Server.PAREndpoint, f.params, &answer); err != nil {
		return err
	}
	if answer.RequestURI == "" {
		return errors.New("client: the answer of the PAR endpoint names no request")
	}
	f.URL = c.authorization(url.Values{"client_id": {c.ID}, "request_uri": {answer.RequestURI}})
	return nil
}

// Finish redeems the code of the authorization response, the URL to which the browser was redirected. It checks state and iss
// (RFC 9207 §2.4) before it sends the code.
func (c *Client) Finish(ctx context.Context, f *Flow, response *url.URL) (Tokens, error) {
	q := response.Query()
	for _, values := range q {
		if len(values) > 1 {
			return Tokens{}, errors.New("client: the answer holds a parameter twice")
		}
	}
	switch {
	case !f.Answers(response):
		return Tokens{}, errors.New("client: the answer belongs to another request: its state differs")
	case q.Get("iss") != c.Server.Issuer:
		return Tokens{}, errors.New("client: the answer is not this issuer's: its iss differs")
	case q.Get("error") != "":
		return Tokens{}, &Error{Status: http.StatusSeeOther, Code: q.Get("error"), Description: q.Get("error_description")}
	}
	return c.Token(ctx, url.Values{
		"grant_type": {"authorization_code"}, "code": {q.Get("code")},
		"redirect_uri": {f.redirectURI}, "code_verifier": {f.verifier},
	})
}

// Refresh redeems a refresh token.
func (c *Client) Refresh(ctx context.Context, refreshToken string) (Tokens, error) {
	return c.Token(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}})
}

// Token sends any request to the token endpoint, authenticated as the client.
func (c *Client) Token(ctx context.Context, form url.Values) (Tokens, error) {
	var t Tokens
	if err := c.post(ctx, c.Server.TokenEndpoint, form, &t); err != nil {
		return Tokens{}, err
	}
	if t.AccessToken == "" || t.TokenType == "" {
		return Tokens{}, errors.New("client: the answer of the token endpoint holds no token")
	}
	return t, nil
}

// Revoke revokes a token (RFC 7009).
func (c *Client) Revoke(ctx context.Context, token string) error {
	return c.post(ctx, c.Server.RevocationEndpoint, url.Values{"token": {token}}, nil)
}

// post sends a form with the client's authentication: an assertion if it has a key (RFC 7523 §2.2), HTTP Basic if it has a
// secret, or else client_id (RFC 6749 §2.3.1).
func (c *Client) post(ctx context.Context, endpoint string, form url.Values, answer any) error {
	if c.Key != nil {
		now := time.Now
		if c.Now != nil {
			now = c.Now
		}
		proof, err := assertion.Sign(c.Key, c.KID, c.ID, c.Server.Issuer, now())
		if err != nil {
			return fmt.Errorf("client: %w", err)
		}
		form.Set("client_assertion_type", assertion.Type)
		form.Set("client_assertion", proof)
	}
	if c.Key != nil || c.Secret == "" {
		form.Set("client_id", c.ID)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if c.Key == nil && c.Secret != "" {
		req.SetBasicAuth(url.QueryEscape(c.ID), url.QueryEscape(c.Secret))
	}
	return send(c.HTTP, req, maxAnswer, answer)
}

// send sends a request and reads the JSON answer, of at most limit bytes, into answer. A refusal is an [*Error]. A nil answer
// reads none.
func send(c *http.Client, req *http.Request, limit int64, answer any) error {
	_, err := exchange(c, req, limit, answer)
	return err
}

// exchange is send that also returns the header of the answer.
func exchange(c *http.Client, req *http.Request, limit int64, answer any) (http.Header, error) {
	if c == nil {
		c = http.DefaultClient
	}
	req.Header.Set("Accept", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // everything needed was read
	if resp.StatusCode/100 != 2 {
		return nil, refusalOf(resp, limit)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if answer == nil {
		return resp.Header, nil
	}
	if !isJSON(resp) {
		return nil, errors.New("the answer is not JSON")
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return resp.Header, nil
}

// refusalOf returns the [*Error] of an answer that is none of success.
func refusalOf(resp *http.Response, limit int64) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	var refusal api.Error
	if !isJSON(resp) || json.Unmarshal(body, &refusal) != nil || refusal.Code == "" {
		refusal.Code = "no OAuth error"
	}
	return &Error{Status: resp.StatusCode, Code: refusal.Code, Description: refusal.Description}
}

func isJSON(resp *http.Response) bool {
	t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return err == nil && (t == "application/json" || strings.HasSuffix(t, "+json"))
}
