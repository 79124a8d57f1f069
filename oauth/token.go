package oauth

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/ory/fosite"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/storage"
)

// A TokenRequest is a request to the token endpoint. The form comes from the body alone, and has each parameter except resource
// at most once.
type TokenRequest struct {
	Header http.Header
	Form   url.Values
	// Source is the address that the request came from. It bounds how much of the replay store one sender may fill.
	Source netip.Addr
}

// A TokenAnswer is a successful answer of the token endpoint (RFC 6749 §5.1, RFC 9449 §5).
type TokenAnswer struct {
	// AccessToken is the access token or, with the TokenType N_A, an authorization grant for another issuer (RFC 8693 §2.2.1).
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token,omitempty"`
	Scope        string `json:"scope,omitempty"`
	// IssuedTokenType is set in answers to token exchange and to embedded tokens (RFC 8693 §2.2.1).
	IssuedTokenType string `json:"issued_token_type,omitempty"`
}

// A tokenRequest is one request to the token endpoint, with the results of each step: the authenticated client, the verified
// proof, the grant and the token that the grant decided on.
type tokenRequest struct {
	TokenRequest
	fosite.DefaultSession // fosite passes the request to the grants as its session

	at         time.Time // when the request came
	unverified *dpop.Unverified
	proof      *dpop.Proof // nil for a service that may do without
	client     *clients.Client
	assertion  *clients.Assertion // the client's assertion, which is spent with the first write
	counted    bool               // for the user
	spent      bool               // the proof is spent

	grant     grant
	token     *token
	committed bool         // everything that goes with the token is durable
	event     *audit.Event // that the transaction caused; nil if there is none
	answer    TokenAnswer
}

// A token is the decision of a grant: the access token to sign, or the authorization grant for another issuer, and the rest of the
// answer.
type token struct {
	claims claims.Set
	// user is the subject; zero for a service. Their row must still be the same when the grant is committed.
	user storage.User
	// refresh is the refresh token; empty if there is none.
	refresh string
	// issuedType is the issued_token_type of the answer.
	issuedType string
	// typ is the typ of what is signed; empty for an access token.
	typ string
	// sign signs the claims in another form than a JWT. Nil for a JWT.
	sign func(claims.Set) (string, error)
	// session is the session that the token belongs to; nil for the tokens of services and those made of other tokens. Entered tells
	// that it got an entry of a status list with this request.
	session *storage.Grant
	entered bool
	// writes tells that the grant has something to commit.
	writes bool
}

// Token answers a request to the token endpoint, of one of [GrantTypes]. A refusal is an [*Error], or an error of package dpop
// for a proof that is missing, wrong, stale or replayed. Any other error means that nothing was decided and nothing is lost.
func (p *Provider) Token(ctx context.Context, in TokenRequest) (TokenAnswer, error) {
	types := in.Form["grant_type"]
	if len(types) != 1 || types[0] == "" {
		return TokenAnswer{}, refuse(CodeInvalidRequest, "The parameter grant_type is missing.")
	}
	if !slices.Contains(GrantTypes, types[0]) {
		return TokenAnswer{}, refuse(CodeUnsupportedGrantType,
			"The grant_type "+named(types[0])+" is not supported. These are: "+listed(GrantTypes)+".")
	}
	// The proof is read first: if it is refused, for example because it lacks a nonce, the code or refresh token stays valid.
	// Its signature is verified once the client is known.
	unverified, err := p.readProof(ctx, in, "/token")
	if err != nil {
		return TokenAnswer{}, err
	}
	return p.dispatch(ctx, types[0], &tokenRequest{TokenRequest: in, at: p.now(), unverified: unverified})
}

// authenticate finds the client of a request, which must be registered for the grant type, and verifies the proof.
func (p *Provider) authenticate(ctx context.Context, r *tokenRequest) error {
	client, assertion, err := p.clients.Authenticate(ctx, r.Header, r.Form)
	if err != nil {
		return err
	}
	if grantType := r.Form.Get("grant_type"); !client.Allows(grantType) {
		return refuse(CodeUnauthorizedClient, "The client is not registered for the grant type "+named(grantType)+".")
	}
	if err := client.Check(ctx, p.store); err != nil {
		return err
	}
	if err := p.limiter.Client(client, r.Source); err != nil {
		return err
	}
	r.client, r.assertion = client, assertion
	r.proof, err = verifyProof(r.unverified)
	return err
}

// readProof reads the proof of a request to an endpoint of the server; nil if it has no DPoP header.
func (p *Provider) readProof(ctx context.Context, in TokenRequest, path string) (*dpop.Unverified, error) {
	proofs := in.Header.Values("DPoP")
	if len(proofs) == 0 {
		return nil, nil
	}
	return p.proofs.Read(ctx, dpop.Request{Method: http.MethodPost, URL: p.issuer + path, Proofs: proofs})
}

// verifyProof verifies the signature of a proof that was read; nil if there is none.
func verifyProof(unverified *dpop.Unverified) (*dpop.Proof, error) {
	if unverified == nil {
		return nil, nil
	}
	return unverified.Verify()
}

// spendProof spends the proof of a request, once.
func (p *Provider) spendProof(ctx context.Context, r *tokenRequest) error {
	if r.proof == nil || r.spent {
		return nil
	}
	err := p.proofs.Spend(ctx, r.proof, r.Source)
	r.spent = err == nil
	return err
}
