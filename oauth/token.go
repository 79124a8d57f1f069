package oauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ory/fosite"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/random"
	"github.com/imidentity/issuer/storage"
)

// A TokenRequest is a request to the token endpoint. The form has been read from the body alone, and none of its
// parameters but resource is there twice.
type TokenRequest struct {
	Header http.Header
	Form   url.Values
	// Source is the address that the request came from; it bounds how much of the replay store one sender may fill.
	Source netip.Addr
}

// A TokenAnswer is a successful answer of the token endpoint (RFC 6749 §5.1, RFC 9449 §5).
type TokenAnswer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token,omitempty"`
	Scope        string `json:"scope,omitempty"`
	// IssuedTokenType is there in answers to token exchange and to embedded tokens (RFC 8693 §2.2.1).
	IssuedTokenType string `json:"issued_token_type,omitempty"`
}

// Token answers a request to the token endpoint, of one of [GrantTypes]. Besides
// [*Error] it returns the errors of package dpop for a proof that is missing, wrong, stale or replayed; any other
// error means that nothing was decided and nothing is lost.
func (p *Provider) Token(ctx context.Context, r TokenRequest) (TokenAnswer, error) {
	grants := r.Form["grant_type"]
	if len(grants) != 1 || grants[0] == "" {
		return TokenAnswer{}, refuse(CodeInvalidRequest, "The parameter grant_type is missing.")
	}
	grant := grants[0]
	if !slices.Contains(GrantTypes, grant) {
		return TokenAnswer{}, refuse(CodeUnsupportedGrantType, "The grant_type "+named(grant)+" is not supported. These are: "+listed(GrantTypes)+".")
	}
	// The proof comes first: whatever it lacks (a nonce, above all) costs neither code nor refresh token. Its signature is
	// verified when the client is known, see authenticateFor: that is also when a service client may do without a proof.
	claimed, err := p.readProof(ctx, r, "/token")
	if err != nil {
		return TokenAnswer{}, err
	}
	f := &flow{now: p.now(), form: r.Form, source: r.Source, claimed: claimed}
	ctx = context.WithValue(ctx, flowKey{}, f)
	request, err := p.engine.NewAccessRequest(ctx, synthetic(http.MethodPost, r.Header, r.Form), session{})
	if err != nil {
		return TokenAnswer{}, ours(err)
	}
	response, err := p.engine.NewAccessResponse(ctx, request)
	if err != nil {
		return TokenAnswer{}, ours(err)
	}
	answer := TokenAnswer{
		AccessToken: response.GetAccessToken(),
		TokenType:   response.GetTokenType(),
		ExpiresIn:   int64(f.expires.Sub(f.now) / time.Second),
		Scope:       strings.Join(f.scopes, " "),
	}
	answer.RefreshToken, _ = response.GetExtra("refresh_token").(string)
	answer.IssuedTokenType, _ = response.GetExtra("issued_token_type").(string)
	return answer, nil
}

// readProof reads the proof that a request to an endpoint of the server comes with; nil if it has no DPoP header.
func (p *Provider) readProof(ctx context.Context, r TokenRequest, path string) (*dpop.Unverified, error) {
	proofs := r.Header.Values("DPoP")
	if len(proofs) == 0 {
		return nil, nil
	}
	return p.proofs.Read(ctx, dpop.Request{Method: http.MethodPost, URL: p.issuer + path, Proofs: proofs})
}

// verifyProof verifies the signature of a proof that was read; nil if there is none.
func verifyProof(claimed *dpop.Unverified) (*dpop.Proof, error) {
	if claimed == nil {
		return nil, nil
	}
	return claimed.Verify()
}

// A flow is what one request gathers on its way through the engine: who asks, what was found, what the token will
// say, and what is to be written. It travels in the context, since fosite hands nothing else to all its parts.
type flow struct {
	now    time.Time
	form   url.Values
	source netip.Addr
	client *Client
	once   *once       // the client's assertion, to be spent
	proof  *dpop.Proof // nil for a service without one

	claimed *dpop.Unverified // the proof until the client is known and its signature is verified
	spent   bool             // the proof

	code   storage.Code
	grant  storage.Grant // for a service: only what its token says
	user   storage.User
	device storage.Device
	rotate bool // the refresh token came for the first time
	// claims is what the token says where that does not follow from the rows alone: token exchange, embedded tokens.
	claims *claims.Set

	scopes   []string // of the token: the grant's, or fewer
	audience []string
	expires  time.Time // of the access token

	work []func(context.Context, storage.Tx) error
}

type flowKey struct{}

func flowOf(ctx context.Context) *flow { return ctx.Value(flowKey{}).(*flow) }

// then adds a step to the unit of work.
func (f *flow) then(step func(context.Context, storage.Tx) error) { f.work = append(f.work, step) }

// requester is the stored request that fosite compares the present one with. All of it was compared before.
func (f *flow) requester() fosite.Requester {
	return &fosite.Request{
		ID:           f.grant.ID,
		Client:       view{f.client},
		GrantedScope: f.grant.Scopes,
		Form:         url.Values{},
		Session:      session{},
	}
}

// commit runs the unit of work as one transaction, if there is anything to write. The token is already signed by
// then, so first of all the client's assertion must be good once more, and the user as she was when it was made.
func (f *flow) commit(ctx context.Context, store storage.Store) error {
	if len(f.work) == 0 && f.once == nil {
		return nil
	}
	err := store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		if err := f.client.stands(ctx, tx); err != nil {
			return err
		}
		if err := f.once.spend(ctx, tx); err != nil {
			return err
		}
		if err := f.sameUser(ctx, tx); err != nil {
			return err
		}
		for _, step := range f.work {
			if err := step(ctx, tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		f.work, f.once = nil, nil
	}
	return err
}

// sameUser refuses what is made for a user whose row is not any more as it was read.
func (f *flow) sameUser(ctx context.Context, tx storage.Tx) error {
	if f.user.ID == "" {
		return nil
	}
	return asRead(ctx, tx, f.user)
}

// asRead checks that the row of a user is as it was read, as far as tokens go.
func asRead(ctx context.Context, tx storage.Tx, user storage.User) error {
	now, err := tx.User(ctx, user.Domain, user.ID)
	if err == nil && (now.Gen != user.Gen || now.Handle != user.Handle || !now.DisabledAt.Equal(user.DisabledAt)) {
		err = errChanged
	}
	return err
}

// close runs after the grant's own checks and before anything is written: the key is there where one is due, scope and
// audience are narrowed as asked, and, last of all, the proof is spent.
func (p *Provider) close(ctx context.Context, f *flow, grant string) error {
	if f.proof == nil && !(f.client.Bearer && grant == GrantClientCredentials) {
		return dpop.ErrNoProof
	}
	if grant == GrantClientCredentials {
		if err := p.service(f); err != nil {
			return err
		}
	}
	if err := p.narrow(f); err != nil {
		return err
	}
	f.expires = f.now.Add(p.lifetimes.Access).Truncate(time.Second)
	if end := f.grant.ExpiresAt; !end.IsZero() && end.Before(f.expires) {
		f.expires = end
	}
	if f.user.ID != "" {
		if err := p.limiter.User(f.user, f.client.ID); err != nil {
			return err
		}
	}
	return p.spend(ctx, f)
}

// spend spends the proof of a request, once.
func (p *Provider) spend(ctx context.Context, f *flow) error {
	if f.proof == nil || f.spent {
		return nil
	}
	err := p.proofs.Spend(ctx, f.proof, f.source)
	f.spent = err == nil
	return err
}

// service fills the flow of a client_credentials request (RFC 6749 §4.4): the client acts for itself in one domain.
func (p *Provider) service(f *flow) error {
	domain, err := p.domainFor(f.client, f.form)
	if err != nil {
		return err
	}
	if domain == "" {
		return refuse(CodeInvalidRequest, "The client has several domains: name one with im_domain. They are: "+listed(f.client.Domains)+".")
	}
	f.grant = storage.Grant{Domain: domain, Client: f.client.ID}
	for _, s := range f.client.Scopes {
		if s != ScopeHandle && s != ScopeDevice { // a service has neither
			f.grant.Scopes = append(f.grant.Scopes, s)
		}
	}
	f.grant.Audience, err = p.audience(f.client, domain, f.form["resource"])
	return err
}

// narrow sets scope and audience of the token: those of the grant, or the fewer that the request asks for
// (RFC 6749 §6, RFC 8707 §2.2).
func (p *Provider) narrow(f *flow) error {
	if !slices.Contains(f.client.Domains, f.grant.Domain) {
		return refuse(CodeInvalidGrant, "The client is no longer registered for the domain of this session.")
	}
	f.scopes, f.audience = f.grant.Scopes, f.grant.Audience
	if asked := scopeList(f.form.Get("scope")); len(asked) > 0 {
		for _, s := range asked {
			if !slices.Contains(f.grant.Scopes, s) {
				return refuse(CodeInvalidScope, "The scope "+named(s)+" was not granted. These were: "+listed(f.grant.Scopes)+".")
			}
		}
		f.scopes = asked
	}
	if asked := f.form["resource"]; len(asked) > 0 {
		for _, r := range asked {
			// What is for the server itself is asked for in its turn, and no resource sees it.
			if !slices.Contains(f.grant.Audience, r) && !(r == p.issuer && forServer(f.scopes)) {
				return refuse(CodeInvalidTarget, "The resource "+named(r)+" was not granted. These were: "+listed(f.grant.Audience)+".")
			}
		}
		f.audience = asked
	}
	// The client's registration may have shrunk since.
	for _, s := range f.scopes {
		if !f.client.HasScope(s) {
			return refuse(CodeInvalidScope, "The client is no longer registered for the scope "+named(s)+": ask for fewer, or begin a new login.")
		}
	}
	var err error
	f.audience, err = p.audience(f.client, f.grant.Domain, f.audience)
	return err
}

// forServer reports whether some scope is about the server's own endpoints.
func forServer(scopes []string) bool {
	return slices.ContainsFunc(scopes, func(s string) bool { return s != ScopeHandle && s != ScopeDevice })
}

// scopeList reads a scope parameter (RFC 6749 §3.3). The scope openid is ignored: no ID tokens are issued here.
func scopeList(text string) []string {
	var list []string
	for _, s := range strings.Fields(text) {
		if s != "openid" && !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// audience returns the audience that resource parameters ask for (RFC 8707 §2): each is among the client's resources
// or the URIs of its domains, or is this server; none means the domain's own URI.
func (p *Provider) audience(c *Client, domain string, resources []string) ([]string, error) {
	if len(resources) == 0 && domain == "" { // the person chooses it, and then this is asked again
		return nil, nil
	}
	if len(resources) == 0 {
		own, err := p.accounts.DomainURI(domain)
		return []string{own}, err
	}
	allowed := append(slices.Clone(c.Resources), p.issuer)
	for _, d := range c.Domains {
		uri, err := p.accounts.DomainURI(d)
		if err != nil {
			return nil, err
		}
		allowed = append(allowed, uri)
	}
	var list []string
	for _, r := range resources {
		if !slices.Contains(allowed, r) {
			return nil, refuse(CodeInvalidTarget, "The client is not registered for the resource "+named(r)+": name a resource of the client, the URI of one of its domains, or this issuer.")
		}
		if !slices.Contains(list, r) {
			list = append(list, r)
		}
	}
	return list, nil
}

// random makes 256 random bits in base64url.
func (p *Provider) random() (string, error) {
	text, err := random.Text(p.rand, 32)
	if err != nil {
		return "", fmt.Errorf("oauth: %w", err)
	}
	return text, nil
}

func hash(secret string) [32]byte { return sha256.Sum256([]byte(secret)) }

// notFound turns the absence of a record into a refusal, and leaves every other error as it is.
func notFound(err error, refusal *Error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return refusal
	}
	return err
}
