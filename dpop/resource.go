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

// ErrInvalidToken is returned by [ResourceConfig.Token] for an access token that is expired, revoked, malformed or of
// an issuer that the resource does not believe, and by [Resource.Admit] for one that is not bound to the key of the
// proof as well: `invalid_token` (RFC 6750 §3.1).
var ErrInvalidToken = errors.New("dpop: invalid access token")

// ResourceConfig configures a [Resource].
type ResourceConfig struct {
	// Verifier checks and spends the proofs. Required.
	Verifier *Verifier
	// Token tells what an access token is bound to, whether it finds that out by itself or asks the issuer. It checks
	// everything else, too: signature, issuer, audience, lifetime, revocation. A token that is not good is an
	// [ErrInvalidToken]; any other error means "cannot know" and is answered 503. It is called for tokens with a good
	// proof only, or that came as bearer tokens where these are allowed. Required.
	Token func(ctx context.Context, token string) (Confirmation, error)
	// PublicURL is what clients put before the path that the handler sees: scheme and host, and the path prefix that a
	// proxy or [http.StripPrefix] takes away ("https://api.example.com/v1"). It is written in the form of
	// [NormalizeHTU] without a slash at the end, and is the identifier of the resource in its metadata. Required.
	PublicURL string
	// PublicOrigins are further schemes and hosts ("https://api.example.net") under which clients know the same
	// resource. Which one a request is for is told by a trusted proxy.
	PublicOrigins []string
	// TrustedProxies are the networks whose Forwarded or X-Forwarded-Host and X-Forwarded-Proto headers choose among
	// the origins above, and whose Forwarded or X-Forwarded-For headers name the client. A proxy in them that names
	// any other origin is answered 403. From everybody else these headers mean nothing.
	TrustedProxies []netip.Prefix
	// AllowBearer lets tokens that are bound to no key in under the scheme Bearer, as long as there are such. Whoever
	// steals one can use it.
	AllowBearer bool
	// Realm is the `realm` of challenges, printable ASCII without quotes and backslashes. Empty: they have none.
	Realm string
	// Metadata is what [Resource.Metadata] serves and challenges point to. Nil: they do not.
	Metadata *ResourceMetadata
	// Report is told why a request was not let in. Nil: nobody is.
	Report func(r *http.Request, err error)
}

// A Confirmation is what an access token says about its holder.
type Confirmation struct {
	// JKT is its `cnf.jkt`, the thumbprint of the key that it is bound to; empty if it is bound to none.
	JKT string
	// Claims is whatever the handler shall know of the token.
	Claims any
}

// An Access is a request that was let in.
type Access struct {
	Confirmation
	// Proof is the spent proof, nil for a bearer token.
	Proof *Proof
}

// A Resource lets requests in that have an access token and prove that they come from the holder of its key (RFC 9449
// §7). It may be used by several goroutines.
type Resource struct {
	cfg     ResourceConfig
	origins []string // in normal form without a path; that of PublicURL first
	prefix  string   // the path of PublicURL, "" or "/v1"
}

// NewResource returns an error if cfg lacks something or has a URL that is not in normal form.
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

// splitPublicURL splits a configured URL before its path. Such a URL is compared byte for byte by others (RFC 9728
// §3.3), so that it must have its normal form from the start.
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

// Protect returns a handler that lets a request through to next if it has one Authorization header with an access
// token under the scheme DPoP and one DPoP header with a good proof, by the key that the token is bound to, which was
// not used before. [FromContext] tells next what is known. Everything else is answered as the table in docs/dpop.md
// has it.
//
// With nonces every answer carries the newest one, and no-store with it. A handler that lets its answer be stored
// deletes the header DPoP-Nonce.
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

// FromContext returns what the [Resource] that let a request in knows of it, and false if none did.
func FromContext(ctx context.Context) (*Access, bool) {
	access, ok := ctx.Value(accessKey{}).(*Access)
	return access, ok
}

// Admit is Protect for requests that come another way than HTTP, such as the first message of a WebSocket: it checks
// the proof and the token, compares their keys, and spends the proof. r.AccessToken and r.URL are required; source is
// where the request came from (the zero Addr: not known). The error is an [ErrInvalidToken], an [ErrInvalidProof], an
// [ErrUseNonce], an [ErrReplayFull], or means "cannot know".
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

// token asks the caller about a token.
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

// maxClaimed bounds the access tokens whose claims are read before they are verified, in bytes.
const maxClaimed = 16 << 10

func invalidToken(words string) error {
	return fmt.Errorf("dpop: access token: %w", &reason{words, ErrInvalidToken})
}

// What is wrong with a request beside its token and its proof.
var (
	errNoToken   = errors.New("dpop: no access token")
	errMalformed = errors.New("dpop: malformed request")
	errOrigin    = errors.New("dpop: the proxy names an origin that is not one of ours")
)

// admit checks r as [Resource.Protect] does, and sets the headers of the nonce in h, those of the answer.
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

// Check checks r as [Resource.Protect] does: the Authorization and DPoP headers, the token, the proof and its key. It
// is for servers with an error handler and a nonce header of their own. source is the address that the request came
// from (the zero Addr: not known), whatever r.RemoteAddr and the headers of proxies say. The errors are those of
// [Resource.Admit], and others that only [Resource.Refuse] tells apart.
//
// Check sets no header. With nonces the answer needs [Verifier.Nonce] in the header DPoP-Nonce, and no-store.
func (s *Resource) Check(r *http.Request, source netip.Addr) (*Access, error) {
	origin, err := s.origin(r)
	if err != nil {
		return nil, err
	}
	return s.check(r, origin, source)
}

// check checks r, which the client sent to that public origin.
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
	path := escapedPath(r.URL)
	if path != "" && path[0] != '/' { // "OPTIONS *"
		return nil, &reason{"the request has no path", errMalformed}
	}
	return s.Admit(r.Context(), Request{
		Method: r.Method, URL: origin + s.prefix + path, Proofs: r.Header.Values("DPoP"), AccessToken: token,
	}, source)
}

// source returns the address that a request came from, see [Sender].
func (s *Resource) source(r *http.Request) netip.Addr {
	addr, _ := Sender(r, s.cfg.TrustedProxies) // a proxy that hides addresses is the source itself
	return addr
}

// setNonce sets the header that carries the newest nonce (RFC 9449 §8.2, §9).
func (s *Resource) setNonce(ctx context.Context, h http.Header) error {
	nonce, err := s.cfg.Verifier.Nonce(ctx)
	if err == nil && nonce != "" {
		h.Set("DPoP-Nonce", nonce)
		h.Set("Cache-Control", "no-store")
	}
	return err
}

// admitBearer decides about a token under the scheme Bearer. One that is bound to a key is refused there, or else
// whoever stole it could leave the proof out (RFC 9449 §7.2).
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

// The schemes that tokens come under.
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
	return "", "", errNoToken // a scheme that tells us nothing
}

// token68 reports whether s is one (RFC 9110 §11.2).
func token68(s string) bool {
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		if !unreserved(s[i]) && s[i] != '+' && s[i] != '/' {
			return false
		}
	}
	return s != ""
}
