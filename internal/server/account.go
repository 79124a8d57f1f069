package server

import (
	"errors"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/signin"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/web"
)

// accountRoutes is the table of the pages where users manage their own account. Each act is a page that asks, and the form of the page.
func (s *Server) accountRoutes() []route {
	list := []route{
		{http.MethodGet, "/account", s.visited(s.showAccount), ownOrigin, eachRequest},
		{http.MethodGet, endPath, s.showSignedOut, ownOrigin, eachRequest},
		{http.MethodPost, "/account/sign-out", s.signOut, ownOrigin, eachRequest},
	}
	for _, a := range s.acts() {
		list = append(list,
			route{http.MethodGet, a.path, s.visited(s.ask(a)), ownOrigin, eachRequest},
			route{http.MethodPost, a.path, s.visited(s.perform(a)), ownOrigin, eachRequest})
	}
	return list
}

// endPath is the page for a browser that is not signed in any more, or did not sign in.
const endPath = "/account/signed-out"

// signOut serves POST /account/sign-out: the session of this browser ends. That of the OpenID provider goes on.
func (s *Server) signOut(c echo.Context) error {
	s.guard(c)
	v, err := s.visitor(c)
	if err == nil {
		if _, err = s.posted(c, v); err == nil {
			err = s.Accounts.EndBrowser(c.Request().Context(), v.Browser)
		}
	}
	if err != nil && !errors.Is(err, account.ErrNoBrowser) {
		return err
	}
	http.SetCookie(c.Response(), s.browserCookie(""))
	return c.Redirect(http.StatusSeeOther, s.path(endPath))
}

// The pages that a browser can go on to from [endPath].
var entrances = []string{"/account", "/device"}

// showSignedOut serves GET /account/signed-out?to=/account&because=cancelled.
func (s *Server) showSignedOut(c echo.Context) error {
	s.guard(c)
	params, err := query(c)
	if err != nil {
		return err
	}
	page := web.SignedOut{Next: s.path(entrances[0])}
	if to := params.Get("to"); slices.Contains(entrances, to) {
		page.Next = s.path(to)
	}
	switch because := params.Get("because"); because {
	case signin.BecauseCancelled, signin.BecauseUnavailable, signin.BecauseChanged, becauseLeft:
		page.Because = because
	}
	return web.ShowSignedOut(c.Response(), page, s.frame(c))
}

// becauseLeft says that the user has left: their account is removed.
const becauseLeft = "left"

// frame returns the values of a page of the account that do not depend on the page.
func (s *Server) frame(c echo.Context) web.Frame {
	f := web.Frame{Language: language(c), Service: s.service(), RequestID: requestID(c)}
	for _, p := range s.Logins { // a form may lead to any of them, once the session has ended
		f.Targets = append(f.Targets, p.Issuer())
	}
	return f
}

// The sizes of the lists on the page.
const (
	accountDevices = 20
	accountParties = 20
	accountEvents  = 10
)

// dones are the acts that the page reports as done, by the texts for that.
var dones = map[string]web.Key{
	"renamed": "account.done.renamed", "removed": "account.done.removed", "all_removed": "account.done.all_removed",
	"withdrawn": "account.done.withdrawn", "findable": "account.done.findable", "hidden": "account.done.hidden",
	"browsers_ended": "account.done.browsers_ended", "session_ended": "account.done.session_ended", "name": "account.done.name",
	"credential_ended": "account.done.credential_ended",
}

// eventTexts are the texts for what happened to devices.
var eventTexts = map[storage.UserEventKind]web.Key{
	storage.DeviceAdded: "account.event.added", storage.DeviceRemoved: "account.event.removed",
	storage.DeviceRekeyed: "account.event.rekeyed",
}

// showAccount serves GET /account?devices=AFTER&access=CURSOR&done=ACT.
func (s *Server) showAccount(c echo.Context, v *visitor) error {
	params, err := query(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	page := web.Account{CSRF: v.csrf(), SignOut: s.path("/account/sign-out"), Findable: v.Person.Findable, Paths: s.accountPaths()}
	page.Done = dones[params.Get("done")]
	if page.Person, err = s.Accounts.Display(v.Person); err != nil {
		return err
	}
	if p, ok := s.Logins[v.Provider]; ok {
		page.Provider = p.Name()
	}
	devices, err := s.Accounts.OwnDevices(ctx, v.Owner(), params.Get("devices"), accountDevices+1)
	if err != nil {
		return err
	}
	if len(devices) > accountDevices {
		devices = devices[:accountDevices]
		page.MoreDevices = s.path("/account?devices=" + devices[len(devices)-1].ID)
	}
	for _, d := range devices {
		page.Devices = append(page.Devices, s.webDevice(d))
	}
	page.DevicesGoOn = params.Get("devices") != ""
	if err := s.addParties(c, v, params.Get("access"), &page); err != nil {
		return err
	}
	events, err := s.Accounts.RecentEvents(ctx, v.Owner(), accountEvents)
	if err != nil {
		return err
	}
	for _, e := range events {
		page.Events = append(page.Events, web.AccountEvent{Kind: eventTexts[e.Kind], Device: e.Device.Name, At: e.At})
	}
	browsers, err := s.Accounts.Browsers(ctx, v.Domain, v.User)
	if err != nil {
		return err
	}
	page.OtherBrowsers = max(0, len(browsers)-1)
	profile, err := s.Accounts.Profile(ctx, v.Owner())
	if err != nil {
		return err
	}
	page.CanRename = profile.Rename == account.RenameByUser
	return web.ShowAccount(c.Response(), page, s.frame(c))
}

func (s *Server) accountPaths() web.AccountPaths {
	return web.AccountPaths{
		RemoveDevices: s.path("/account/remove-devices"), Privacy: s.path("/account/privacy"), Name: s.path("/account/name"),
		Export: s.path("/account/export"), Leave: s.path("/account/leave"), Browsers: s.path("/account/other-browsers"),
	}
}

// addParties adds the statements of the user to the page: apps, bots and keys that act for them, and their other accounts.
func (s *Server) addParties(c echo.Context, v *visitor, cursor string, page *web.Account) error {
	list, next, err := s.Statements.Own(c.Request().Context(), holderOf(v), "", cursor, accountParties)
	if err != nil {
		return err
	}
	for _, statement := range list {
		for _, k := range statementKinds {
			if k.typ == statement.Type {
				p := s.webParty(statement)
				p.Href = s.path("/account/" + k.path + "/" + statement.JTI + "/withdraw")
				page.Parties = append(page.Parties, p)
			}
		}
	}
	if next != "" {
		page.MoreParties = s.path("/account?access=" + next)
	}
	return nil
}

// holderOf returns a visitor as the holder of statements.
func holderOf(v *visitor) statements.Holder {
	return statements.Holder{Domain: v.Domain, User: v.User, Browser: v.Hash}
}

// webParty returns a statement as the page shows it.
func (s *Server) webParty(v nested.Statement) web.AccountParty {
	p := web.AccountParty{Name: v.Party, Kind: "account.party.actor", Until: v.Expires}
	switch v.Type {
	case nested.TypeDelegation:
		p.Name, p.Kind = v.JKT, "account.party.delegation"
	case nested.TypeLink:
		p.Kind = "account.party.link"
	default:
		if client, ok := s.Registry.Client(v.Party); ok && v.PartyIssuer == s.Issuer {
			p.Name = client.Title()
		}
	}
	return p
}

// webDevice returns a device as the page shows it.
func (s *Server) webDevice(d account.OwnDevice) web.AccountDevice {
	return web.AccountDevice{
		Name: d.Name, Platform: d.Platform, Active: d.Active, FirstSeen: d.CreatedAt, LastSeen: d.SeenAt,
		Href: s.path("/account/devices/" + d.ID),
	}
}
