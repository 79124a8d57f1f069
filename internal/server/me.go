package server

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/types/api"
)

// A statementKind describes the routes of one type of statement.
type statementKind struct {
	path string // below /me
	typ  string
	read func(b *httpapi.Body, s *nested.Statement)
}

// statementKinds are the statements that users make and withdraw themselves.
var statementKinds = []statementKind{
	{"actors", nested.TypeActor, func(b *httpapi.Body, s *nested.Statement) {
		s.Party, s.PartyIssuer = b.String("actor"), b.String("actor_iss")
		s.Scope = strings.Join(b.Words("scope"), " ")
	}},
	{"delegations", nested.TypeDelegation, func(b *httpapi.Body, s *nested.Statement) {
		s.JKT = b.String("jkt")
		s.Limits = &nested.Limits{
			Devices: b.String("devices"), Count: b.Count("count"), Depth: b.Count("depth"),
			Lifetime: time.Duration(b.Count("lifetime")) * time.Second, Statements: b.Words("statements"),
		}
	}},
	{"links", nested.TypeLink, func(b *httpapi.Body, s *nested.Statement) { s.Party = b.String("same_as") }},
}

// ownRoutes is the table of the endpoints for a user's own account, which their apps call.
func (s *Server) ownRoutes() []route {
	var list []route
	for _, k := range statementKinds {
		list = append(list,
			route{http.MethodGet, "/me/" + k.path, s.mine(s.listMine(k)), anyOrigin, eachFailure},
			route{http.MethodPost, "/me/" + k.path, s.mine(s.state(k)), anyOrigin, eachRequest},
			route{http.MethodDelete, "/me/" + k.path + "/{id}", s.mine(s.withdraw(k)), anyOrigin, eachRequest})
	}
	list = append(list, s.exportRoutes()...)
	return append(list,
		route{http.MethodGet, "/me", s.mine(s.showProfile), anyOrigin, eachFailure},
		route{http.MethodPut, "/me/handle", s.mineNow(s.renameMe), anyOrigin, eachRequest},
		route{http.MethodGet, "/me/sessions", s.mine(s.listSessions), anyOrigin, eachFailure},
		route{http.MethodDelete, "/me/sessions", s.mine(s.endOtherSessions), anyOrigin, eachRequest},
		route{http.MethodDelete, "/me/sessions/{id}", s.mine(s.endSession), anyOrigin, eachRequest},
		route{http.MethodGet, "/me/credentials", s.credentialHolder(s.listCredentials), anyOrigin, eachFailure},
		route{http.MethodDelete, "/me/credentials/{id}", s.credentialHolder(s.endCredential), anyOrigin, eachRequest},
		route{http.MethodGet, "/me/xsign", s.mine(s.showCrossSigning), anyOrigin, eachFailure},
		route{http.MethodPut, "/me/xsign", s.mineNow(s.setCrossSigning), anyOrigin, eachRequest},
		route{http.MethodGet, "/me/profile", s.mine(s.showOwnPlaces), anyOrigin, eachFailure},
		route{http.MethodPut, "/me/profile", s.mineNow(s.setOwnPlaces), anyOrigin, eachRequest},
		route{http.MethodDelete, "/me/profile", s.mine(s.removeOwnPlaces), anyOrigin, eachRequest},
		route{http.MethodPut, "/me/vouches/{thumbprint}", s.mineNow(s.setOpinion), anyOrigin, eachRequest},
		route{http.MethodDelete, "/me/vouches/{thumbprint}", s.mine(s.removeOpinion), anyOrigin, eachRequest},
		route{http.MethodGet, "/me/provider-links", s.mine(s.listProviderLinks), anyOrigin, eachFailure},
		route{http.MethodDelete, "/me/provider-links/{id}", s.mineNow(s.removeProviderLink), anyOrigin, eachRequest},
		route{http.MethodGet, "/me/privacy", s.privacy(s.showPrivacy), anyOrigin, eachFailure},
		route{http.MethodPut, "/me/privacy", s.privacy(s.setPrivacy), anyOrigin, eachRequest},
		route{http.MethodPost, "/me/withdrawals", s.mine(s.withdrawSigned), anyOrigin, eachRequest},
		route{http.MethodGet, "/me/events", s.mine(s.listMyEvents), anyOrigin, eachFailure},
		route{http.MethodGet, "/me/device_codes", s.mine(s.showWaitingDevice), anyOrigin, eachFailure},
		route{http.MethodPost, "/me/device_codes", s.mine(s.decideWaitingDevice), anyOrigin, eachRequest},
		route{http.MethodGet, "/me/devices", s.mine(s.listDevices), anyOrigin, eachFailure},
		route{http.MethodDelete, "/me/devices", s.mine(s.removeOtherDevices), anyOrigin, eachRequest},
		route{http.MethodPatch, "/me/devices/{id}", s.mine(s.renameDevice), anyOrigin, eachRequest},
		route{http.MethodDelete, "/me/devices/{id}", s.mine(s.removeDevice), anyOrigin, eachRequest},
		route{http.MethodPost, "/me/devices/{id}/key", s.rekey, anyOrigin, eachRequest})
}

// mine serves users with a token for their own account.
func (s *Server) mine(serve func(echo.Context, statements.Holder) error) echo.HandlerFunc {
	return s.bound(oauth.ScopeAccount, func(c echo.Context, holder claims.Set) error {
		who, err := personOf(holder)
		if err != nil {
			return err
		}
		return serve(c, who)
	})
}

// personOf returns the user whose own account a token is for.
func personOf(holder claims.Set) (statements.Holder, error) {
	if holder.Service() || holder.Actor != nil {
		return statements.Holder{}, errService
	}
	id, err := holder.Identity()
	if err != nil {
		return statements.Holder{}, err
	}
	return statements.Holder{Domain: id.User.Domain(), User: id.User.Local(), SID: holder.SID}, nil
}

// defaultPage is how many elements a page has unless the request says otherwise.
const defaultPage = 20

// listMine serves GET /me/actors, /me/delegations and /me/links?limit=N&cursor=C: a page of the user's live statements. The Link
// header has the next page, if there is one (RFC 8288).
func (s *Server) listMine(k statementKind) func(echo.Context, statements.Holder) error {
	return func(c echo.Context, who statements.Holder) error {
		params, err := query(c)
		if err != nil {
			return err
		}
		limit, err := pageLimit(params)
		if err != nil {
			return err
		}
		page, next, err := s.Statements.Own(c.Request().Context(), who, k.typ, params.Get("cursor"), limit)
		if err != nil {
			return err
		}
		list := make([]api.Statement, len(page))
		for i, v := range page {
			list[i] = httpapi.Statement(v, "")
		}
		s.linkNext(c, "/me/"+k.path, limit, next)
		return encodeJSON(c, list)
	}
}

// pageLimit reads how many elements a page may have.
func pageLimit(params url.Values) (int, error) {
	text := params.Get("limit")
	if text == "" {
		return defaultPage, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > statements.MaxPage {
		return 0, invalid(fmt.Sprintf("The parameter limit must be a whole number from 1 to %d.", statements.MaxPage))
	}
	return n, nil
}

// linkNext writes the Link to the next page, unless its cursor is empty.
func (s *Server) linkNext(c echo.Context, path string, limit int, cursor string) {
	if cursor != "" {
		query := url.Values{"limit": {strconv.Itoa(limit)}, "cursor": {cursor}}
		c.Response().Header().Set("Link", "<"+s.Issuer+path+"?"+query.Encode()+`>; rel="next"`)
	}
}

// state serves POST /me/actors, /me/delegations and /me/links: the issuer signs a statement for the user.
func (s *Server) state(k statementKind) func(echo.Context, statements.Holder) error {
	return func(c echo.Context, who statements.Holder) error {
		b, err := httpapi.ReadBody(c)
		if err != nil {
			return err
		}
		statement := nested.Statement{Type: k.typ, Audience: b.Strings("audience")}
		k.read(b, &statement)
		if seconds := b.Count("expires_in"); seconds > 0 {
			statement.Expires = s.Now().Add(time.Duration(seconds) * time.Second).Truncate(time.Second)
		}
		if err := b.Done(); err != nil {
			return err
		}
		made, err := s.Statements.Make(c.Request().Context(), who, statement)
		if err != nil {
			return err
		}
		return c.JSON(http.StatusCreated, httpapi.Statement(made.Statement, made.Token))
	}
}

// withdraw serves DELETE /me/actors/{id}, /me/delegations/{id} and /me/links/{id}: the statement ends, and what rests on it.
func (s *Server) withdraw(k statementKind) func(echo.Context, statements.Holder) error {
	return func(c echo.Context, who statements.Holder) error {
		if err := s.Statements.Withdraw(c.Request().Context(), who, k.typ, c.Param("id")); err != nil {
			return err
		}
		return c.NoContent(http.StatusNoContent)
	}
}

// withdrawSigned serves POST /me/withdrawals: a statement ends that a key of the user signed.
func (s *Server) withdrawSigned(c echo.Context, who statements.Holder) error {
	b, err := httpapi.ReadBody(c)
	if err != nil {
		return err
	}
	statement, along := b.String("token"), b.Strings("im_along")
	if err := b.Done(); err != nil {
		return err
	}
	if _, err := s.Statements.WithdrawSigned(c.Request().Context(), who, statement, along); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
