package issuer

import (
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/bucket"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/internal/server"
	"github.com/imidentity/issuer/internal/statuses"
	"github.com/imidentity/issuer/login"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/signin"
	"github.com/imidentity/issuer/web"
)

// The functions of this file turn the settings into the configuration of the packages below.

func service(cfg *config.Config) web.Service {
	s := web.Service{Name: cfg.Service.Name, PrivacyURL: cfg.Service.PrivacyURL, TermsURL: cfg.Service.TermsURL}
	if len(cfg.Service.Logo) > 0 {
		mediaType, data := http.DetectContentType(cfg.Service.Logo), base64.StdEncoding.EncodeToString(cfg.Service.Logo)
		s.Logo = template.URL("data:" + mediaType + ";base64," + data)
	}
	return s
}

func quotaSize(cfg *config.Config) signin.QuotaSize {
	l := cfg.Limits
	return signin.QuotaSize{
		Total:      l.WaitingLogins,
		PerNetwork: max(1, l.WaitingLogins*l.WaitingAddressPercent/100),
		Reserved:   l.WaitingLogins * l.WaitingReservedPercent / 100,
	}
}

func rates(cfg *config.Config) server.Rates {
	limit := func(r config.Rate) bucket.Limit { return bucket.Limit{Count: r.Count, Period: r.Per} }
	l := cfg.Limits
	return server.Rates{
		Address: limit(l.PerAddress), Client: limit(l.PerClient), UserClient: limit(l.PerUserClient), User: limit(l.PerUser),
		Lookup: limit(l.Lookups),
	}
}

// clockSkew bounds two times together: by how much the clocks of nodes may differ, and how long a node may sign with
// keys that it could not read again.
const clockSkew = 5 * time.Minute

// longestLife is the longest life of anything that the issuer's keys sign. A key must be published for so long after it
// has signed for the last time.
func longestLife(cfg *config.Config) time.Duration {
	return max(cfg.Lifetimes.Access, cfg.Lifetimes.Statement, cfg.Lifetimes.Credential, statuses.CredentialLife) + clockSkew
}

// outbound returns the HTTP client for URLs of the settings.
func outbound(cfg *config.Config, observe fetch.Observer) (*http.Client, error) {
	policy, err := cfg.FetchPolicy()
	if err != nil {
		return nil, err
	}
	policy.Observe = observe
	return fetch.NewClient(policy)
}

func newLogins(cfg *config.Config, observe fetch.Observer, now func() time.Time) (map[string]*login.Provider, error) {
	client, err := outbound(cfg, observe)
	if err != nil {
		return nil, err
	}
	logins := make(map[string]*login.Provider)
	for _, d := range cfg.Domains {
		for _, p := range d.Providers {
			logins[p.ID], err = login.New(login.Config{
				ID: p.ID, Name: p.Name, Domain: d.Name, Issuer: p.Issuer,
				ClientID: p.ClientID, ClientSecret: string(p.ClientSecret), Scopes: p.Scopes, SubjectClaim: p.SubjectClaim,
				RedirectURL: cfg.Issuer + "/login/callback/" + p.ID, HandleClaim: d.Claims.Handle, UserClaim: d.Claims.User,
				AuthoritativeHandles: p.AuthoritativeHandles, Refresh: p.Recheck != 0, NoConsent: !p.RecheckConsent,
			}, client, now)
			if err != nil {
				return nil, err
			}
		}
	}
	return logins, nil
}

func domainNames(cfg *config.Config) []string {
	names := make([]string, 0, len(cfg.Domains))
	for _, d := range cfg.Domains {
		names = append(names, d.Name)
	}
	return names
}

// providerIssuers returns the issuers of all OpenID providers.
func providerIssuers(cfg *config.Config) []string {
	var issuers []string
	for _, d := range cfg.Domains {
		for _, p := range d.Providers {
			issuers = append(issuers, p.Issuer)
		}
	}
	return issuers
}

func accountDomains(cfg *config.Config) ([]account.Domain, error) {
	var list []account.Domain
	for _, d := range cfg.Domains {
		domain, err := account.NewDomain(d.Name, claims.System(d.System), d.URI == "mimi", cfg.Development, d.Protected)
		if err != nil {
			return nil, fmt.Errorf("domain %s: %w", d.Name, err)
		}
		domain.Policy.Scripts = claims.Restriction(d.Scripts)
		domain.Rename = account.RenameRule{By: account.RenameBy(d.Rename.By), Every: d.Rename.Every}
		list = append(list, domain)
	}
	return list, nil
}

func oauthDomains(cfg *config.Config) []oauth.Domain {
	var list []oauth.Domain
	for _, d := range cfg.Domains {
		domain := oauth.Domain{Name: d.Name}
		for _, p := range d.Providers {
			domain.Providers = append(domain.Providers, p.ID)
		}
		list = append(list, domain)
	}
	return list
}

func oauthClient(c config.Client) clients.Client {
	k := clients.Client{
		ID: c.ID, Name: c.Name, RedirectURIs: c.RedirectURIs, Grants: c.Grants, Scopes: c.Scopes,
		Domains: c.Domains, Resources: c.Resources, PeerResources: c.PeerResources,
		FirstParty: c.FirstParty, Embed: relations(c.Embed), Bearer: c.DPoP == "optional",
		RequirePAR: c.RequirePAR, RequireDPoPJKT: c.RequireDPoPJKT, Release: c.Introspection.Release,
		SignedResponseAlg: c.SignedResponseAlg,
	}
	for _, a := range c.IDTokens {
		k.IDTokens = append(k.IDTokens, clients.IDTokenApp{Provider: a.Provider, Audience: a.Audience, AuthorizedParty: a.AZP})
	}
	if slices.Contains(c.Scopes, oauth.ScopeSCIM) {
		k.SCIM = &clients.SCIM{
			Domain: c.Domains[0], Issuer: c.SCIM.Issuer, Renames: c.SCIM.Renames, UserClaim: c.SCIM.UserClaim,
			SubjectClaim: c.SCIM.SubjectClaim, TokenSHA256: c.SCIM.TokenSHA256,
		}
	}
	switch c.Auth {
	case "secret":
		k.SecretSHA256 = c.SecretSHA256[:]
	case "private_key_jwt":
		k.Keys, k.JWKSURI = c.Keys, c.JWKSURI
	}
	return k
}

func relations(names []string) []nested.Relation {
	var list []nested.Relation
	for _, name := range names {
		list = append(list, nested.Relation(name))
	}
	return list
}

func newProofs(
	cfg *config.Config, secrets func() [][32]byte, replay dpop.Replay, offset func(time.Duration), now func() time.Time,
) (*dpop.Verifier, error) {
	v := dpop.Config{Algorithms: cfg.DPoP.Algorithms, Replay: replay, Offset: offset, Now: now}
	if cfg.DPoP.Nonce == "required" {
		var err error
		if v.Nonces, err = dpop.NewNoncesFrom(secrets, now); err != nil {
			return nil, err
		}
	}
	return dpop.NewVerifier(v)
}
