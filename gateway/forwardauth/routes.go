package forwardauth

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/imidentity/issuer/gateway"
)

// A Route says which requests need what.
type Route struct {
	// Path is the beginning of the paths of the route, by whole segments: /rooms is for /rooms and /rooms/7, not for /roomservice; / is
	// for all.
	Path string
	// Methods and Origins are those of the route; nil stands for all.
	Methods, Origins []string
	// Upstream is the name of the service behind the route, the `aud` of its identities.
	Upstream string
	// Policy is what requests need. Required.
	Policy *gateway.Policy
}

// A table finds the route of a request.
type table []Route // longest path first, and otherwise in the given order

func newTable(routes []Route) (table, error) {
	if len(routes) == 0 {
		return nil, errors.New("forwardauth: there is no route")
	}
	for i := range routes {
		r := &routes[i]
		if r.Policy == nil || r.Upstream == "" {
			return nil, fmt.Errorf("forwardauth: route %d: a policy and the name of the upstream are required", i+1)
		}
		if path, err := normalPath(r.Path); err != nil || path != r.Path || path != "/" && strings.HasSuffix(path, "/") {
			return nil, fmt.Errorf("forwardauth: route %d: %q is not a path in normal form, without a closing slash", i+1, r.Path)
		}
	}
	t := slices.Clone(table(routes))
	slices.SortStableFunc(t, func(a, b Route) int { return len(b.Path) - len(a.Path) })
	return t, nil
}

// find returns the route of a request, and nil if there is none. Of the routes for its origin, those with the longest path decide alone:
// a method that they do not have is not looked for under a shorter path, whose policy may be weaker.
func (t table) find(target Target) *Route {
	path := ""
	for i := range t {
		r := &t[i]
		switch {
		case path != "" && r.Path != path:
			return nil
		case r.Origins != nil && !slices.Contains(r.Origins, target.Origin), !below(target.Path, r.Path):
			continue
		}
		path = r.Path
		if r.Methods == nil || slices.Contains(r.Methods, target.Method) {
			return r
		}
	}
	return nil
}

// below reports whether a path begins with the segments of a prefix.
func below(path, prefix string) bool {
	if prefix == "/" {
		return true
	}
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/')
}
