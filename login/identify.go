package login

import (
	"context"

	"github.com/imidentity/issuer/internal/fetch"
)

// identify maps the claims of a verified ID token. Claims it lacks are read from userinfo, if there is one:
// providers may put nothing but sub into an ID token (OpenID Connect Core §5.4).
func (p *Provider) identify(ctx context.Context, meta *metadata, said members, accessToken string) (Identity, error) {
	subject, err := p.subject(said) // before claims of userinfo are added
	if err != nil {
		return Identity{}, err
	}
	id := Identity{
		Issuer:   p.cfg.Issuer,
		Subject:  subject,
		SID:      said.text("sid"),
		IssuedAt: said.date("iat"),
		ACR:      said.text("acr"),
	}
	if !p.bySub() {
		id.Sub = said.text("sub")
	}
	id.AMR = said.texts("amr")
	if at := said.date("auth_time"); !at.After(p.now().Add(leeway)) {
		id.AuthTime = at
	}
	// These claims describe the login. A claim that cannot be read is ignored, and is no reason to refuse the user (Core §3.1.3.7).
	for name, missing := range map[string]bool{
		"sid": id.SID == "", "acr": id.ACR == "", "amr": id.AMR == nil, "auth_time": id.AuthTime.IsZero(),
	} {
		if missing && said[name] != nil {
			id.Ignored = append(id.Ignored, name)
		}
	}
	if meta.userinfo != "" && (said[p.cfg.HandleClaim] == nil || p.cfg.UserClaim != "" && said[p.cfg.UserClaim] == nil) {
		more, err := p.userinfo(ctx, meta, said.text("sub"), accessToken)
		if err != nil {
			return Identity{}, err
		}
		for _, claim := range []string{p.cfg.HandleClaim, p.cfg.UserClaim} {
			if said[claim] == nil {
				said[claim] = more[claim]
			}
		}
	}
	id.Handle = said.text(p.cfg.HandleClaim)
	if p.cfg.UserClaim != "" {
		if id.User = said.text(p.cfg.UserClaim); id.User == "" {
			return Identity{}, rejected("claims", "%s, the user's id, is missing or not a string", p.cfg.UserClaim)
		}
	}
	return id, nil
}

// userinfo reads claims about the user from the provider (Core §5.3).
func (p *Provider) userinfo(ctx context.Context, meta *metadata, subject, accessToken string) (members, error) {
	body, err := p.get(fetch.For(ctx, fetch.ProviderUserinfo), meta.userinfo, accessToken)
	if unreachable(err) {
		return nil, unavailable("userinfo", err)
	}
	if err != nil {
		return nil, &Rejected{Part: "userinfo", Err: err}
	}
	said, err := parseMembers(body, []string{"sub"})
	if err != nil {
		return nil, &Rejected{Part: "userinfo", Err: err}
	}
	// Core §5.3.2: the answer may be about another user.
	if said.text("sub") != subject {
		return nil, rejected("userinfo", "sub differs from that of the ID token")
	}
	return said, nil
}
