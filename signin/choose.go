package signin

import (
	"context"
	"slices"

	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
)

// askPlace begins a login with the question for what the app's request leaves open: the domain, or the OpenID provider.
func (s *Logins) askPlace(ctx context.Context, v *visit, a *oauth.Authorization) (Outcome, error) {
	p, err := s.newPending("", storage.Login{Request: a.Request}, progress{Step: stepChoose})
	if err != nil {
		return nil, err
	}
	if err := s.start(ctx, v, p); err != nil {
		return nil, err
	}
	return s.placeQuestion(v, a, p.token), nil
}

// choosePlace goes on to the chosen OpenID provider, or asks for one of the chosen domain. The step does not end: until it expires,
// the user may come back and choose another.
func (s *Logins) choosePlace(ctx context.Context, v *visit, in ChoosePlace) (Outcome, error) {
	a, err := s.choose(ctx, v.row.Request, in.Domain, in.Provider)
	if err != nil {
		return v.tell(err)
	}
	if a.Provider == "" {
		return s.placeQuestion(v, a, v.Token), nil
	}
	return s.begin(ctx, v, a)
}

func (s *Logins) placeQuestion(v *visit, a *oauth.Authorization, token string) Outcome {
	q := PlaceQuestion{App: a.Client.Title(), Domain: a.Domain, Targets: []string{s.returnURI(a.Request)}}
	domains, providers := s.oauth.Choices(a)
	for _, name := range domains {
		q.Options = append(q.Options, Option{Value: name, Label: name})
	}
	for _, id := range providers {
		if p, ok := s.providers[id]; ok {
			q.Options = append(q.Options, Option{Value: id, Label: p.Name()})
		}
	}
	for id, p := range s.providers {
		if slices.Contains(providers, id) || slices.Contains(domains, p.Domain()) {
			q.Targets = append(q.Targets, p.Issuer())
		}
	}
	return Ask{v.answer(), token, q}
}
