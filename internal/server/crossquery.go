package server

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/internal/signed"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/types/api"
	"github.com/imidentity/issuer/xsign"
)

// crossQuery serves POST /xsign/query: the statements of cross signing of users, and the public vouches about them. Callers are those of
// /introspect that are told users, devices and their cross signing there. The answer is not signed: what it holds is, and the issuer is not
// believed about it.
func (s *Server) crossQuery(c echo.Context) error {
	var q signed.Question
	by, _, err := s.caller(c, oauth.ScopeIntrospect, func(c echo.Context) (params url.Values, err error) {
		q, params, err = crossQuestion(c)
		return params, err
	})
	if err != nil {
		return err
	}
	if !by.Release.TellsCrossSigning() {
		return errWithheld
	}
	found, err := s.Signed.Query(c.Request().Context(), q)
	if err != nil {
		return err
	}
	if err := s.countNames(c, q.Users, &found); err != nil {
		return err
	}
	// As at /introspect: after the answer is computed and before it is sent.
	if err := s.Registry.Spend(c.Request().Context(), by.assertion); err != nil {
		return err
	}
	return encodeJSON(c, crossAnswer(&found))
}

// errWithheld refuses a caller whose introspection policy withholds what an answer would tell.
var errWithheld = &httpapi.RefusedError{
	Status: http.StatusForbidden, Code: oauth.CodeAccessDenied,
	Description: "The introspection policy of the caller withholds the cross signing of users: the operator must add sub, device and " +
		"xsign to its claims, and not set pairwise.",
}

// countNames counts users that are not here as look-ups of names, where users are known by their names: the endpoint is no directory.
func (s *Server) countNames(c echo.Context, users []claims.ID, found *signed.Persons) error {
	for _, id := range users {
		if _, ok := found.Of[id]; !ok && s.Systems[id.Domain()] == claims.SystemXMPP {
			if err := s.Limits.lookup(c.Request().Context(), s.source(c)); err != nil {
				return err
			}
		}
	}
	return nil
}

// crossQuestion reads a question about users, and the parameters by which a client authenticates in the body.
func crossQuestion(c echo.Context) (q signed.Question, params url.Values, err error) {
	b, err := httpapi.ReadBody(c)
	if err != nil {
		return q, nil, err
	}
	params = make(url.Values)
	for _, name := range []string{"client_id", "client_secret", "client_assertion", "client_assertion_type"} {
		if text := b.String(name); text != "" {
			params.Set(name, text)
		}
	}
	noteRequest(c, params)
	if q.Users, err = readUsers(b, "users", signed.MaxUsers); err != nil {
		return q, nil, err
	}
	if q.Authors, err = readUsers(b, "by", signed.MaxAuthors); err != nil {
		return q, nil, err
	}
	switch err := b.Done(); {
	case err != nil:
		return q, nil, err
	case len(q.Users) == 0:
		return q, nil, invalid("The member users must be an array of the URIs of users, with at least one.")
	case len(q.Users)*len(q.Authors) > signed.MaxPairs:
		return q, nil, invalid(fmt.Sprintf("There are %d users and %d authors: a question may have %d pairs of them.", len(q.Users),
			len(q.Authors), signed.MaxPairs))
	}
	return q, params, nil
}

// readUsers reads a member that is an array of the URIs of users.
func readUsers(b *httpapi.Body, name string, most int) ([]claims.ID, error) {
	raw := b.Raw(name)
	if raw == nil {
		return nil, nil
	}
	list, err := jose.Strings(raw)
	switch {
	case err != nil:
		return nil, invalid("The member " + name + " must be an array of the URIs of users.")
	case len(list) > most:
		return nil, invalid(fmt.Sprintf("The member %s has %d users, and a question may have %d.", name, len(list), most))
	}
	users := make([]claims.ID, len(list))
	for i, text := range list {
		id, err := claims.ParseIdentity(claims.Parser{AllowSingleLabel: true}, text, "", "")
		if err != nil || id.User.IsZero() {
			return nil, invalid(fmt.Sprintf("Number %d of %s is not the URI of a user, such as im:USERID@example.com;id-type=user. "+
				"Handles and devices are not looked up.", i+1, name))
		}
		users[i] = id.User
	}
	return users, nil
}

// crossAnswer returns the statements of users as JSON.
func crossAnswer(found *signed.Persons) api.XSignUsers {
	answer := api.XSignUsers{Users: make(map[string]api.XSignUser, len(found.Found))}
	for _, id := range found.Found {
		p := found.Of[id]
		v := api.XSignUser{XSignBundle: apiBundle(p.Bundle), Vouches: make([]api.XSignVouch, len(p.Vouches)), MoreVouches: p.More}
		for i, vouch := range p.Vouches {
			v.Vouches[i] = api.XSignVouch{User: vouch.User.String(), By: apiBundle(vouch.By), Vouch: vouch.Vouch}
		}
		answer.Users[id.String()] = v
	}
	for _, id := range found.Omitted {
		answer.Omitted = append(answer.Omitted, id.String())
	}
	return answer
}

func apiBundle(b xsign.Bundle) api.XSignBundle {
	return api.XSignBundle{Keys: b.Keys, Succession: b.Succession, Devices: b.Devices}
}
