package client

import (
	"context"
	"errors"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/imidentity/issuer/types/api"
)

// A List says which entries of a list an operator wants, in the order of their ids.
type List struct {
	// Domain is that of the entries. Empty means the issuer's only one.
	Domain string
	// User restricts devices, sessions, credentials and statements to those of one user. Empty means all.
	User string
	// Device and Format restrict credentials to those of one device, and of one format. Empty means all.
	Device, Format string
	// Live restricts credentials to "true", live ones, or "false", those that have ended. Empty means all.
	Live string
	// Search restricts users to those whose id or handle contains this text. Empty means all.
	Search string
	// Ended selects sessions that ended and are still stored, in place of live ones.
	Ended bool
	// After is the id after which the list begins. Empty means from the start.
	After string
	// PageSize is how many entries one request asks for, at most 200, and at the socket 1000. Zero means 200.
	PageSize int
}

// Users returns users. The issuer is asked page by page. An error ends the list.
func (a Admin) Users(ctx context.Context, l List) iter.Seq2[api.User, error] {
	return list[api.User](ctx, a, "/admin/users", l.query(), l.PageSize)
}

// Devices is Users for devices.
func (a Admin) Devices(ctx context.Context, l List) iter.Seq2[api.Device, error] {
	return list[api.Device](ctx, a, "/admin/devices", l.query(), l.PageSize)
}

// Statements is Users for live statements.
func (a Admin) Statements(ctx context.Context, l List) iter.Seq2[api.Statement, error] {
	return list[api.Statement](ctx, a, "/admin/statements", l.query(), l.PageSize)
}

// Sessions returns live sessions, or those that ended, in the order of their users and ids.
func (a Admin) Sessions(ctx context.Context, l List) iter.Seq2[api.Session, error] {
	query := l.query()
	if l.Ended {
		query.Set("ended", "true")
	}
	return list[api.Session](ctx, a, "/admin/sessions", query, l.PageSize)
}

// Credentials is Users for credentials that have not expired.
func (a Admin) Credentials(ctx context.Context, l List) iter.Seq2[api.Credential, error] {
	query := l.query()
	for name, values := range values("device", l.Device, "format", l.Format, "live", l.Live) {
		query[name] = values
	}
	return list[api.Credential](ctx, a, "/admin/credentials", query, l.PageSize)
}

// Domains returns the domains of the issuer that the operator may see, with their settings, in the order of their names.
func (a Admin) Domains(ctx context.Context) iter.Seq2[api.Domain, error] {
	return list[api.Domain](ctx, a, "/admin/domains", nil, 0)
}

// Clients returns all clients that are not removed, in the order of their ids.
func (a Admin) Clients(ctx context.Context) ([]api.Client, error) {
	return whole(list[api.Client](ctx, a, "/admin/clients", nil, 0))
}

// Keys returns the signing keys, oldest first.
func (a Admin) Keys(ctx context.Context) ([]api.Key, error) {
	return whole(list[api.Key](ctx, a, "/admin/keys", nil, 0))
}

func (l List) query() url.Values {
	return values("domain", l.Domain, "user", l.User, "search", l.Search, "after", l.After)
}

// list asks for a list page by page. The Link of each page leads to the next one (RFC 8288).
func list[T any](ctx context.Context, a Admin, path string, query url.Values, size int) iter.Seq2[T, error] {
	if size == 0 {
		size = 200
	}
	return func(yield func(T, error) bool) {
		query := maps.Clone(query)
		if query == nil {
			query = url.Values{}
		}
		query.Set("limit", strconv.Itoa(size))
		for {
			var page []T
			next, err := a.page(ctx, path, query, &page)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, entry := range page {
				if !yield(entry, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			query.Del("after")
			query.Set("cursor", next)
		}
	}
}

// page reads a page of a list, and returns the cursor of the next one.
func (a Admin) page(ctx context.Context, path string, query url.Values, page any) (next string, err error) {
	u := url.URL{Scheme: a.origin.Scheme, Host: a.origin.Host, Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	header, err := exchange(a.http, req, maxAdminAnswer, page)
	if err != nil {
		return "", err
	}
	target, _, ok := strings.Cut(strings.TrimPrefix(header.Get("Link"), "<"), `>; rel="next"`)
	if !ok {
		return "", nil
	}
	link, err := url.Parse(target)
	if err != nil {
		return "", errors.New("the Link to the next page is malformed")
	}
	if next = link.Query().Get("cursor"); next == "" || next == query.Get("cursor") {
		return "", errors.New("the Link to the next page leads nowhere")
	}
	return next, nil
}

// whole returns all entries of a list.
func whole[T any](all iter.Seq2[T, error]) ([]T, error) {
	entries := []T{}
	for entry, err := range all {
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry)
	}
	return entries, nil
}
