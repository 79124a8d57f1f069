package dpop

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/imidentity/issuer/internal/jose"
)

// ErrInvalidToken is returned by [ResourceConfig.Token] for an access token that is expired, revoked, malformed or from an
// issuer that the resource does not trust, and by [Resource.Admit] also for a token that is not bound to the key of the
// proof: `invalid_token` (RFC 6750 §3.1).
var ErrInvalidToken = errors.New("dpop: invalid access token")

// ResourceConfig configures a [Resource].
type ResourceConfig struct {
	// Verifier checks proofs and spends them. Required.
	Verifier *Verifier
	// Token returns the key that an access token is bound to. It checks everything about the token (signature, issuer,
	// audience, lifetime, revocation), by itself or by asking the issuer. Its error is [ErrInvalidToken] for a token that
	// is not valid. Any other error means that it cannot know, and is answered 503. It is called only for tokens with a
	// valid proof, and for bearer tokens if these are allowed. Required.
	Token func(ctx context.Context, token string) (Confirmation, error)
	// PublicURL is the part of the public URL before the path that the handler sees: scheme, host, and the path prefix that
	// a proxy or [http.StripPrefix] removes ("https://api.example.com/v1"). It has the form of [NormalizeHTU] without a
	// slash at the end, and is the identifier of the resource in its metadata. Required.
	PublicURL string
	// PublicOrigins are further schemes and hosts ("https://api.example.net") of the same resource. A trusted proxy reports
	// which one a request is for.
	PublicOrigins []string
	// TrustedProxies are the networks of proxies whose Forwarded or X-Forwarded-Host and X-Forwarded-Proto headers choose
	// among the origins above, and whose Forwarded or X-Forwarded-For headers name the client. A request through such a
	// proxy for any other origin is answered 403. These headers are ignored in requests from other addresses.
	TrustedProxies []netip.Prefix
	// AllowBearer accepts tokens that are not bound to a key, under the scheme Bearer. Anybody who steals such a token can
	// use it.
	AllowBearer bool
	// Realm is the `realm` of challenges, in printable ASCII without quotes and backslashes. Empty means none.
	Realm string
	// Metadata is what [Resource.Metadata] serves. If it is not nil, challenges contain its URL.
	Metadata *ResourceMetadata
	// Report is called with the reason when a request is refused. It may be nil.
	Report func(r *http.Request, err error)
}

// A Confirmation is what an access token says about its key, and what the handler needs of its claims.
type Confirmation struct {
	// JKT is `cnf.jkt`, the thumbprint of the key that the token is bound to. It is empty if there is none.
	JKT string
	// Claims is for the handler.
	Claims any
}

// An Access describes an admitted request.
type Access struct {
	Confirmation
	// Proof is the spent proof. It is nil for a bearer token.
	Proof *Proof
}

// A Resource admits requests that have an access token and a proof by its key (RFC 9449 §7). It may be used by several
// goroutines.
type Resource struct {
	cfg     ResourceConfig
	origins []string // in normal form, without a path; the first is that of PublicURL
	prefix  string   // the path of PublicURL, such as "/v1"; may be empty
}

// NewResource returns a resource. The error is about a missing field, or a URL that is not in normal form.
func NewResource(cfg ResourceConfig) (*Resource, error) {
	if cfg.Verifier == nil || cfg.Token == nil {
		return nil, errors.New("dpop: a resource needs a verifier and a function that knows tokens")
	}
	if quoted(cfg.Realm) != `"`+cfg.Realm+`"` {
		return nil, errors.New("dpop: the realm is not printable ASCII without quotes and backslashes")
	}
	s := &Resource{cfg: cfg}
	for i, u := range append([]string{cfg.PublicURL}, cfg.PublicOrigins...) {
		origin, path, err := splitPublicURL(u)
		if err != nil {
			return nil, fmt.Errorf("dpop: public URL %q: %w", u, err)
		}
		if i == 0 {
			s.prefix = path
		} else if path != "" {
			return nil, fmt.Errorf("dpop: public origin %q: it has a path", u)
		}
		s.origins = append(s.origins, origin)
	}
	return s, nil
}

// splitPublicURL splits a configured URL before its path. It must be in normal form, because clients compare it byte for
// byte (RFC 9728 §3.3).
func splitPublicURL(u string) (origin, path string, err error) {
	normal, err := NormalizeHTU(u)
	if err != nil {
		return "", "", err
	}
	end := strings.Index(normal, "://") + 3
	end += strings.IndexByte(normal[end:], '/')
	origin, path = normal[:end], strings.TrimSuffix(normal[end:], "/")
	if origin+path != u {
		return "", "", fmt.Errorf("write it as %s", origin+path)
	}
	return origin, path, nil
}

// Protect returns a handler that calls next for a request with one Authorization header, which contains an access token
// under the scheme DPoP, and one DPoP header, which contains a valid and unused proof by the key that the token is bound
// to. next gets the [Access] by [FromContext]. The table in docs/dpop.md lists the answers to all other requests.
//
// With nonces, every answer has the newest nonce and no-store. A handler whose answer may be stored deletes the header
// DPoP-Nonce.
func (s *Resource) Protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		access, err := s.admit(w.Header(), r)
		if err != nil {
			s.Refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), accessKey{}, access)))
	})
}

type accessKey struct{}

// FromContext returns the access of a request that a [Resource] admitted, and false for other requests.
func FromContext(ctx context.Context) (*Access, bool) {
	access, ok := ctx.Value(accessKey{}).(*Access)
	return access, ok
}

// Admit is for requests outside HTTP, such as the first message of a WebSocket. It checks the proof and the token, compares
// their keys, and spends the proof, as Protect does. r.AccessToken and r.URL are required. source is the address that the
// request came from (the zero Addr if it is not known). The error is an [ErrInvalidToken], an [ErrInvalidProof], an
// [ErrUseNonce] or an [ErrReplayFull]. Any other error means that the resource cannot know.
func (s *Resource) Admit(ctx context.Context, r Request, source netip.Addr) (*Access, error) {
	if r.AccessToken == "" {
		return nil, invalidToken("missing")
	}
	claimed, err := s.cfg.Verifier.Read(ctx, r)
	if err != nil {
		return nil, err
	}
	// Most tokens name their key. One that names another is refused before any signature is verified.
	if namesOtherKey(r.AccessToken, claimed.JKT()) {
		return nil, errOtherKey
	}
	proof, err := claimed.Verify()
	if err != nil {
		return nil, err
	}
	c, err := s.token(ctx, r.AccessToken)
	switch {
	case err != nil:
		return nil, err
	case c.JKT == "": // RFC 9449 §7.1: a token that is bound to no key proves nothing
		return nil, invalidToken("bound to no key")
	case c.JKT != proof.JKT:
		return nil, errOtherKey
	}
	if err := s.cfg.Verifier.Spend(ctx, proof, source); err != nil {
		return nil, err
	}
	return &Access{Confirmation: c, Proof: proof}, nil
}

// token calls [ResourceConfig.Token].
func (s *Resource) token(ctx context.Context, token string) (Confirmation, error) {
	c, err := s.cfg.Token(ctx, token)
	if err != nil {
		return Confirmation{}, fmt.Errorf("dpop: access token: %w", err)
	}
	return c, nil
}

var errOtherKey = invalidToken("bound to another key than that of the proof")

// namesOtherKey reports whether an access token is a JWT whose `cnf.jkt` (RFC 9449 §6.1) is not jkt. The token is not verified:
// its claims can only count against it.
func namesOtherKey(token, jkt string) bool {
	_, rest, _ := strings.Cut(token, ".")
	encoded, signature, _ := strings.Cut(rest, ".")
	if len(token) > maxClaimed || strings.Contains(signature, ".") {
		return false
	}
	var buffer [1 << 10]byte
	payload, err := base64.RawURLEncoding.AppendDecode(buffer[:0], []byte(encoded))
	if err != nil || bytes.Contains(payload, []byte(jkt)) { // mostly as cnf.jkt; [ResourceConfig.Token] reads that
		return false
	}
	claimed := claimedJKT(payload)
	return claimed != "" && claimed != jkt
}

// claimedJKT returns the `cnf.jkt` of the claims of an access token, and "" if there is none.
func claimedJKT(payload []byte) (jkt string) {
	_ = jose.Object(payload, func(name string, value []byte) error { // [ResourceConfig.Token] refuses a malformed one
		if name != "cnf" {
			return nil
		}
		return jose.Object(value, func(name string, value []byte) error {
			if name == "jkt" {
				jkt, _ = jose.String(value)
			}
			return nil
		})
	})
	return jkt
}

// maxClaimed is how many bytes an access token may have if its claims are to be read before it is verified.
const maxClaimed = 16 << 10

func invalidToken(words string) error {
	return fmt.Errorf("dpop: access token: %w", &reason{words, ErrInvalidToken})
}

// Errors of a request that are not about its token or its proof.
var (
	errNoToken   = errors.New("dpop: no access token")
	errMalformed = errors.New("dpop: malformed request")
	errOrigin    = errors.New("dpop: the proxy names an origin that is not one of ours")
)

// admit checks r as [Resource.Protect] does, and sets the header with the nonce in h, the headers of the answer.
func (s *Resource) admit(h http.Header, r *http.Request) (*Access, error) {
	origin, err := s.origin(r)
	if err != nil {
		return nil, err
	}
	if err := s.setNonce(r.Context(), h); err != nil {
		return nil, err
	}
	return s.check(r, origin, s.source(r))
}

// Check checks r as [Resource.Protect] does: the Authorization and DPoP headers, the token, the proof and its key. It is for
// servers with their own error handler and nonce header. source is the address that the request came from (the zero Addr
// if it is not known); r.RemoteAddr and the headers of proxies are not used for that. The errors are those of
// [Resource.Admit], and others for [Resource.Refuse].
//
// Check sets no header. With nonces, the answer needs no-store, and [Verifier.Nonce] in the header DPoP-Nonce.
func (s *Resource) Check(r *http.Request, source netip.Addr) (*Access, error) {
	origin, err := s.origin(r)
	if err != nil {
		return nil, err
	}
	return s.check(r, origin, source)
}

// check checks r, which the client sent to a public origin.
func (s *Resource) check(r *http.Request, origin string, source netip.Addr) (*Access, error) {
	scheme, token, err := credentials(r.Header)
	if scheme == schemeBearer {
		if err == nil {
			return s.admitBearer(r.Context(), token)
		}
		err = &bearerError{err}
	}
	if err != nil {
		return nil, err
	}
	url, err := s.urlAt(origin, r)
	if err != nil {
		return nil, err
	}
	return s.Admit(r.Context(), Request{Method: r.Method, URL: url, Proofs: r.Header.Values("DPoP"), AccessToken: token}, source)
}

// URL returns the public URL that a request is for, without its query: the one that its client makes the proof for. The error is one for
// [Resource.Refuse]: a trusted proxy names another origin, or the request has no path. It is for servers that check tokens and proofs
// in another way.
func (s *Resource) URL(r *http.Request) (string, error) {
	origin, err := s.origin(r)
	if err != nil {
		return "", err
	}
	return s.urlAt(origin, r)
}

func (s *Resource) urlAt(origin string, r *http.Request) (string, error) {
	path := escapedPath(r.URL)
	if path != "" && path[0] != '/' { // "OPTIONS *"
		return "", &reason{"the request has no path", errMalformed}
	}
	return origin + s.prefix + path, nil
}

// source returns the address that a request came from, see [Sender].
func (s *Resource) source(r *http.Request) netip.Addr {
	addr, _ := Sender(r, s.cfg.TrustedProxies) // with an error it is the address of the proxy
	return addr
}

// setNonce sets the header with the newest nonce (RFC 9449 §8.2, §9), and no-store.
func (s *Resource) setNonce(ctx context.Context, h http.Header) error {
	nonce, err := s.cfg.Verifier.Nonce(ctx)
	if err == nil && nonce != "" {
		h.Set("DPoP-Nonce", nonce)
		h.Set("Cache-Control", "no-store")
	}
	return err
}

// admitBearer checks a token under the scheme Bearer. It refuses a token that is bound to a key, because a thief could
// otherwise use it without a proof (RFC 9449 §7.2).
func (s *Resource) admitBearer(ctx context.Context, token string) (*Access, error) {
	if !s.cfg.AllowBearer {
		return nil, &bearerError{invalidToken("tokens are bound to a key here: use the scheme DPoP and a proof")}
	}
	c, err := s.token(ctx, token)
	if err == nil && c.JKT != "" {
		err = invalidToken("bound to a key: use the scheme DPoP and a proof")
	}
	if err != nil {
		return nil, &bearerError{err}
	}
	return &Access{Confirmation: c}, nil
}

// The authentication schemes of access tokens.
const (
	schemeDPoP   = "DPoP"
	schemeBearer = "Bearer"
)

// credentials returns the scheme and the token of the one Authorization header (RFC 9110 §11.4, RFC 9449 §7.1).
func credentials(h http.Header) (scheme, token string, err error) {
	values := h.Values("Authorization")
	if len(values) > 1 {
		return "", "", &reason{"there is more than one Authorization header", errMalformed}
	}
	if len(values) == 0 {
		return "", "", errNoToken
	}
	name, token, _ := strings.Cut(values[0], " ")
	for _, scheme := range [...]string{schemeDPoP, schemeBearer} {
		if !strings.EqualFold(name, scheme) {
			continue
		}
		if token = strings.Trim(token, " "); !token68(token) {
			return scheme, "", invalidToken("malformed")
		}
		return scheme, token, nil
	}
	return "", "", errNoToken // another scheme
}

// token68 reports whether s is a token68 (RFC 9110 §11.2).
func token68(s string) bool {
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		if !unreserved(s[i]) && s[i] != '+' && s[i] != '/' {
			return false
		}
	}
	return s != ""
}
