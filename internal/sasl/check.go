package sasl

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/introspect"
)

// Config configures a [Checker].
type Config struct {
	// Issuer asks the only issuer whose tokens are accepted. Required. It must permit questions without a presentation: the checker
	// verifies that itself. If it keeps answers, a revoked token is accepted until they are too old.
	Issuer *introspect.Client
	// Domains are the domains of the chat server. At least one is required.
	Domains []string
	// Scopes are the scopes that a token must have. Nil requires none.
	Scopes []string
	// FollowHandles accepts tokens whose handle is in another system than xmpp and sip: the account is the one of that name. A
	// user who is renamed then has another account, and who gets the old handle has the old account.
	FollowHandles bool
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
}

// A Checker makes challenges and decides who signs in. It is safe for concurrent use.
type Checker struct {
	cfg        Config
	challenges *challenges
	verifier   *dpop.Verifier
}

// NewChecker returns an error if cfg is incomplete or names something that is not a domain.
func NewChecker(cfg Config) (*Checker, error) {
	if cfg.Issuer == nil || len(cfg.Domains) == 0 {
		return nil, errors.New("sasl: Config needs Issuer and Domains")
	}
	cfg.Domains = slices.Clone(cfg.Domains)
	for i, name := range cfg.Domains {
		domain, err := claims.CheckDomain(name, true)
		if err != nil {
			return nil, fmt.Errorf("sasl: domain %q: %w", name, err)
		}
		cfg.Domains[i] = domain
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	verifier, err := dpop.NewVerifier(dpop.Config{Replay: onceByChallenge{}, Now: cfg.Now})
	if err != nil {
		return nil, fmt.Errorf("sasl: %w", err)
	}
	return &Checker{cfg, newChallenges(), verifier}, nil
}

// A Challenge is what the server sends first.
type Challenge struct {
	// Nonce goes into the presentation. It is valid once, for ExpiresIn seconds.
	Nonce string `json:"nonce"`
	// Audience is what the presentation must be for: the URI of the domain. A client takes it from the name of the server that its
	// certificate proves, and refuses a challenge with another one.
	Audience  string `json:"aud"`
	ExpiresIn int64  `json:"expires_in"`
}

// errDomain is returned for a domain that is not in [Config.Domains].
var errDomain = errors.New("sasl: not a domain of this helper")

// Challenge makes a challenge for an exchange with the server of a domain. The domain may be empty if there is only one.
func (c *Checker) Challenge(domain string) (Challenge, error) {
	switch canonical, err := claims.CheckDomain(domain, true); {
	case domain == "" && len(c.cfg.Domains) == 1:
		domain = c.cfg.Domains[0]
	case err != nil || !slices.Contains(c.cfg.Domains, canonical):
		return Challenge{}, errDomain
	default:
		domain = canonical
	}
	return Challenge{
		Nonce: c.challenges.make(domain, c.cfg.Now()), Audience: claims.DomainURI(domain), ExpiresIn: int64(challengeLife / time.Second),
	}, nil
}

// An Identity is a user who signed in.
type Identity struct {
	Account   string // bare JID, or SIP URI
	Username  string // its part before the @
	User      string // URI, as the issuer tells this caller
	Handle    string
	Device    string
	Scope     string
	ExpiresIn int64 // seconds until the token expires
}

// Check decides about the answer to the challenge with this nonce. Account is the account that the server's protocol names beside the
// message, and empty if it names none. The nonce is used up, whatever the result is.
//
// The error is a [*Refusal], or tells why nothing could be decided.
func (c *Checker) Check(ctx context.Context, nonce string, m Message, account string) (*Identity, error) {
	domain, ok := c.challenges.take(nonce, c.cfg.Now())
	switch {
	case !ok:
		return nil, refuse(codeNonce, "The challenge was answered before, or has expired: begin again.")
	case !isToken(m.Token):
		return nil, malformed("The message has no access token, or one that is not well-formed.")
	case m.Scheme == "bearer":
		return nil, refuse(codePresentation,
			"The scheme of auth must be DPoP: a token without a presentation does not show who holds it.")
	case m.Scheme != "dpop":
		return nil, malformed("The scheme of auth must be DPoP.")
	case m.Presentation == "":
		return nil, refuse(codePresentation, "The message has no presentation: a token alone does not show who holds it.")
	}
	token, err := c.introspect(ctx, m.Token)
	if err != nil {
		return nil, err
	}
	identity, id, err := c.judge(token, domain)
	if err != nil {
		return nil, err
	}
	if err := c.checkPresentation(ctx, nonce, m, claims.DomainURI(domain), token.Confirmation.JKT); err != nil {
		return nil, err
	}
	for _, asked := range []string{m.Authzid, account} {
		if asked == "" {
			continue
		}
		want, err := parseAccount(id.System(), asked)
		if err != nil {
			return nil, err
		}
		if !want.Equal(id) {
			return nil, &Refusal{InvalidAuthzid, codeToken, "The token is for another account than the requested one."}
		}
	}
	return identity, nil
}

// Abandon uses up the challenge of an exchange that the client ended, or whose message cannot be read.
func (c *Checker) Abandon(nonce string) { c.challenges.take(nonce, c.cfg.Now()) }

// judge decides whether an active token lets its user sign in at the server of a domain, and as whom.
func (c *Checker) judge(t *introspect.Answer, domain string) (*Identity, claims.ID, error) {
	switch {
	case !t.Active:
		return nil, claims.ID{}, refuse(codeToken, "The access token is not valid, or is not for this server.")
	case t.Confirmation == nil:
		return nil, claims.ID{}, refuse(codeToken, "The access token is not bound to a key.")
	case !slices.ContainsFunc(claims.DomainURIs(domain), func(uri string) bool { return slices.Contains(t.Audience, uri) }):
		return nil, claims.ID{}, refuse(codeToken, "The access token is for another audience than "+claims.DomainURI(domain)+".")
	case t.Actor != nil:
		return nil, claims.ID{}, refuse(codeToken, "The access token is held by an actor, not by the user.")
	}
	for _, scope := range c.cfg.Scopes {
		if !slices.Contains(strings.Fields(t.Scope), scope) {
			return nil, claims.ID{}, refuse(codeScope, "The access token lacks the scope "+scope+".")
		}
	}
	id, err := accountOf(t.Handle, t.Subject, domain, c.cfg.FollowHandles)
	if err != nil {
		return nil, claims.ID{}, err
	}
	return &Identity{
		Account: id.Native(), Username: id.Local(), User: t.Subject, Handle: t.Handle, Device: t.Device,
		Scope: t.Scope, ExpiresIn: t.ExpiresIn,
	}, id, nil
}

// checkPresentation checks that the holder of the key made the presentation, for this server, exchange and token.
func (c *Checker) checkPresentation(ctx context.Context, nonce string, m Message, audience, jkt string) error {
	_, err := c.verifier.CheckPresentation(ctx, dpop.PresentationRequest{
		Presentation: m.Presentation, Audiences: []string{audience}, Nonce: nonce, AccessToken: m.Token, JKT: jkt,
	})
	var proof *dpop.ProofError
	switch {
	case errors.As(err, &proof):
		return refuse(codePresentation, "The presentation is not valid: "+proof.Part+": "+proof.Err.Error()+".")
	case err != nil:
		return fmt.Errorf("sasl: %w", err)
	}
	return nil
}

// onceByChallenge is the replay store of a checker. It stores nothing: a presentation contains its challenge, which is taken once.
type onceByChallenge struct{}

func (onceByChallenge) Epoch(context.Context) (dpop.Epoch, error) {
	return dpop.NewEpoch([16]byte{}, time.Unix(0, 0)), nil
}

func (onceByChallenge) Spend(context.Context, dpop.Epoch, [32]byte, time.Time, netip.Addr) error {
	return nil
}
