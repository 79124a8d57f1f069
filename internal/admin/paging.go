package admin

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/internal/httpapi"
)

// How many entries a page has, at most and by default: at the socket, and over the network.
const (
	maxPage            = 1000
	maxNetworkPage     = 200
	defaultNetworkPage = 100
)

// maxScan is how many rows a request over the network reads to fill a page whose filter excludes most of them.
const maxScan = 10_000

// A page says which entries of a list a request wants, in the order of their keys: those that follow after.
type page struct {
	after string
	limit int
	scan  int // how many rows are read at most; zero for all
}

// page reads the parameters limit, cursor and after. A cursor is one of a Link. After is the id of an entry, for lists in the order of
// ids.
func (a *API) page(c echo.Context) (p page, err error) {
	p = page{limit: maxPage}
	most := maxPage
	if operator(c).Client != "" {
		p.limit, p.scan, most = defaultNetworkPage, maxScan, maxNetworkPage
	}
	if text := c.QueryParam("limit"); text != "" {
		if p.limit, err = strconv.Atoi(text); err != nil || p.limit < 1 || p.limit > most {
			return page{}, httpapi.Invalid(fmt.Sprintf("The limit is a number from 1 to %d.", most))
		}
	}
	cursor := c.QueryParam("cursor")
	if p.after = c.QueryParam("after"); cursor == "" {
		return p, nil
	}
	text, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(text) == 0 || !utf8.Valid(text) || p.after != "" {
		return page{}, httpapi.Invalid("The cursor is not one of a Link header of this list, or comes together with after.")
	}
	p.after = string(text)
	return p, nil
}

// linkNext writes the Link to the page after the entry with a key, with the filters of this request (RFC 8288 §3). It writes none for the
// empty key.
func linkNext(c echo.Context, key string) {
	if key == "" {
		return
	}
	query := c.Request().URL.Query()
	query.Del("after")
	query.Set("cursor", base64.RawURLEncoding.EncodeToString([]byte(key)))
	next := url.URL{Path: c.Request().URL.Path, RawPath: c.Request().URL.RawPath, RawQuery: query.Encode()}
	c.Response().Header().Set("Link", "<"+next.String()+`>; rel="next"`)
}

// batch is how many rows are read at a time, if the page is not larger.
const batch = 200

// filled reads rows in the order of their keys until a page is full of those that keep accepts. It returns them, and the key after which
// the next page begins; "" if there is none.
func filled[T any](
	p page, read func(after string, limit int) ([]T, error), key func(T) string, keep func(T) bool,
) (list []T, next string, err error) {
	list, after := []T{}, p.after
	for seen, size := 0, max(p.limit+1, batch); ; {
		rows, err := read(after, size)
		if err != nil {
			return nil, "", err
		}
		for _, row := range rows {
			if keep(row) {
				if len(list) == p.limit {
					return list, after, nil
				}
				list = append(list, row)
			}
			after = key(row)
		}
		if len(rows) < size {
			return list, "", nil
		}
		if seen += len(rows); p.scan > 0 && seen >= p.scan {
			return list, after, nil
		}
	}
}

// within is filled for a list in memory, which is in the order of its keys.
func within[T any](p page, all []T, key func(T) string) (list []T, next string) {
	list = []T{}
	for _, entry := range all {
		switch {
		case key(entry) <= p.after:
		case len(list) == p.limit:
			return list, key(list[len(list)-1])
		default:
			list = append(list, entry)
		}
	}
	return list, ""
}

// matches reports whether a value is the one that a filter wants; an empty filter wants any.
func matches(filter, value string) bool { return filter == "" || filter == value }

// choice reads a filter that is true, false or absent.
func choice(c echo.Context, name string) (func(bool) bool, error) {
	if c.QueryParam(name) == "" {
		return func(bool) bool { return true }, nil
	}
	want, err := flag(c, name)
	return func(is bool) bool { return is == want }, err
}
