package client

import (
	"context"
	"iter"
	"net/http"
	"strconv"

	"github.com/imidentity/issuer/types/api"
)

// A List says which entries of a list an operator wants, in the order of their ids.
type List struct {
	// Domain is that of the entries. Empty means the issuer's only one.
	Domain string
	// User restricts devices and statements to those of one user. Empty means all.
	User string
	// Search restricts users to those whose id or handle contains this text. Empty means all.
	Search string
	// After is the id after which the list begins. Empty means from the start.
	After string
	// PageSize is how many entries one request asks for, at most 1000. Zero means 500.
	PageSize int
}

// Users returns users. The issuer is asked page by page. An error ends the list.
func (a Admin) Users(ctx context.Context, l List) iter.Seq2[api.User, error] {
	return list(ctx, a, "/admin/users", l, func(u api.User) string { return u.ID })
}

// Devices is Users for devices.
func (a Admin) Devices(ctx context.Context, l List) iter.Seq2[api.Device, error] {
	return list(ctx, a, "/admin/devices", l, func(d api.Device) string { return d.ID })
}

// Statements is Users for live statements.
func (a Admin) Statements(ctx context.Context, l List) iter.Seq2[api.Statement, error] {
	return list(ctx, a, "/admin/statements", l, func(s api.Statement) string { return s.ID })
}

func list[T any](ctx context.Context, a Admin, path string, l List, id func(T) string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		size := l.PageSize
		if size == 0 {
			size = 500
		}
		for after := l.After; ; {
			query := values("domain", l.Domain, "user", l.User, "search", l.Search, "after", after)
			query.Set("limit", strconv.Itoa(size))
			var page []T
			if err := a.Do(ctx, http.MethodGet, path, query, &page); err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, entry := range page {
				if !yield(entry, nil) {
					return
				}
			}
			if len(page) < size {
				return
			}
			after = id(page[len(page)-1])
		}
	}
}
