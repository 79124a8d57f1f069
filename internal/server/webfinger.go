package server

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/storage"
)

// RelIssuer is the relation type (RFC 8288 §2.1.2) of a link from a handle to the URL of its issuer, exactly as in `iss`. It is only
// compared, and leads to no page.
const RelIssuer = "https://github.com/imidentity/issuer/rel/issuer"

const (
	mediaTypeJRD = "application/jrd+json" // RFC 7033 §10.2
	maxResource  = 1024                   // bytes
)

// A jrd is the JSON Resource Descriptor of a handle (RFC 7033 §4.4).
type jrd struct {
	Subject string    `json:"subject"`
	Aliases []string  `json:"aliases"`
	Links   []jrdLink `json:"links"`
}

type jrdLink struct {
	Rel  string `json:"rel"`
	Href string `json:"href"`
}

// webfinger serves GET /.well-known/webfinger (RFC 7033): from the handle of a user who allows it to the issuer. Everything else about a
// resource looks alike: 404 if no user has the handle, if its user does not want to be found, and if it is not the issuer's.
func (s *Server) webfinger(c echo.Context) error {
	if err := s.Limits.lookup(c.Request().Context(), s.source(c)); err != nil {
		return err
	}
	query, err := url.ParseQuery(c.Request().URL.RawQuery)
	if err != nil || len(query["resource"]) != 1 || query.Get("resource") == "" { // RFC 7033 §4.2
		return httpapi.Invalid("The query needs the parameter resource once.")
	}
	asked, err := readResource(query.Get("resource"))
	if err != nil {
		return err
	}
	user, err := s.Accounts.Find(c.Request().Context(), asked.domain, asked.handle)
	if errors.Is(err, account.ErrNoUser) {
		return errNotFindable
	} else if err != nil {
		return err
	}
	id, err := s.Accounts.Identify(user, storage.Device{})
	if err != nil {
		return err
	}
	if asked.uri != "" && asked.uri != id.Handle { // a URI of another identifier system
		return errNotFindable
	}
	answer := jrd{Subject: id.Handle, Aliases: []string{acctURI(user.Handle, user.Domain)}, Links: []jrdLink{}}
	if rels := query["rel"]; len(rels) == 0 || slices.Contains(rels, RelIssuer) { // RFC 7033 §4.3
		answer.Links = append(answer.Links, jrdLink{RelIssuer, s.Issuer})
	}
	c.Response().Header().Set(echo.HeaderContentType, mediaTypeJRD)
	return json.NewEncoder(c.Response()).Encode(answer)
}

var errNotFindable = &httpapi.RefusedError{
	Status: http.StatusNotFound, Code: "not_found", Description: "Nothing is known about the resource.",
}

// An askedHandle is a handle that a resource names: its domain, its local part, and its URI if the resource is one of instant messaging.
type askedHandle struct{ domain, handle, uri string }

// readResource reads a resource: acct:NAME@DOMAIN (RFC 7565), or a handle as an im: or mimi: URI, in any spelling.
func readResource(text string) (askedHandle, error) {
	u, err := url.Parse(text)
	if err != nil || len(text) > maxResource || u.Scheme == "" {
		return askedHandle{}, httpapi.Invalid("The resource must be a URI, such as acct:NAME@DOMAIN.")
	}
	if u.Scheme == "acct" {
		i := strings.LastIndexByte(u.Opaque, '@')
		if i < 1 || u.RawQuery != "" || u.Fragment != "" {
			return askedHandle{}, httpapi.Invalid("The resource must have the form acct:NAME@DOMAIN.")
		}
		name, err := url.PathUnescape(u.Opaque[:i])
		if err != nil {
			return askedHandle{}, httpapi.Invalid("The resource must have the form acct:NAME@DOMAIN.")
		}
		domain, err := claims.CheckDomain(u.Opaque[i+1:], true)
		if err != nil {
			return askedHandle{}, errNotFindable
		}
		return askedHandle{domain: domain, handle: name}, nil
	}
	id, err := (claims.Parser{Reading: claims.Lenient, AllowSingleLabel: true}).Parse(text)
	// In the mimi form, handle and user look alike: the handle of the user who is found decides.
	if err != nil || id.Type() != claims.TypeHandle && !(id.Type() == claims.TypeUser && id.System() == claims.SystemMIMI) {
		return askedHandle{}, errNotFindable // another kind of resource, or one that names a user or a device by its id
	}
	return askedHandle{id.Domain(), id.Local(), id.String()}, nil
}

// acctURI writes a handle as an acct URI (RFC 7565 §7).
func acctURI(local, domain string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;="
	const hexadecimal = "0123456789ABCDEF"
	var b strings.Builder
	b.WriteString("acct:")
	for i := range len(local) {
		if ch := local[i]; strings.IndexByte(plain, ch) >= 0 {
			b.WriteByte(ch)
		} else {
			b.Write([]byte{'%', hexadecimal[ch>>4], hexadecimal[ch&15]})
		}
	}
	return b.String() + "@" + domain
}
