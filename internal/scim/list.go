package scim

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/imidentity/issuer/account"
)

// MaxResults is how many users an answer has at most, and DefaultResults how many if the request does not say.
const (
	MaxResults     = 200
	DefaultResults = 100
)

// A Query is a question for users (RFC 7644 §3.4.2).
type Query struct {
	Filter Filter
	// StartIndex is the place of the first user, from 1. Count is how many are wanted.
	StartIndex, Count int
	Projection
}

// ReadQuery reads the parameters of a list. Unknown ones are ignored, and so are those for sorting, which is not supported. The error is an
// [*Error].
func ReadQuery(params url.Values) (q Query, err error) {
	q = Query{StartIndex: 1, Count: DefaultResults}
	if text := params.Get("filter"); text != "" {
		if q.Filter, err = ParseFilter(text); err != nil {
			return q, err
		}
	}
	// RFC 7644 §3.4.2.4: too small a number counts as the smallest.
	for _, n := range []struct {
		name  string
		into  *int
		least int
	}{{"startIndex", &q.StartIndex, 1}, {"count", &q.Count, 0}} {
		text := params.Get(n.name)
		if text == "" {
			continue
		}
		number, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return q, &Error{http.StatusBadRequest, InvalidValue, "The parameter " + n.name + " must be a whole number."}
		}
		*n.into = max(int(number), n.least)
	}
	q.Count = min(q.Count, MaxResults)
	q.Projection, err = ReadProjection(params)
	return q, err
}

// A List is a page of users.
type List struct {
	Total, StartIndex int
	Users             []Resource
	projection        Projection
}

// MarshalJSON returns the ListResponse.
func (l List) MarshalJSON() ([]byte, error) {
	resources := make([]map[string]any, len(l.Users))
	for i, r := range l.Users {
		resources[i] = l.projection.Of(r)
	}
	return json.Marshal(listResponse(l.Total, l.StartIndex, resources))
}

// listResponse is the message of RFC 7644 §3.4.2.
func listResponse[T any](total, start int, resources []T) any {
	return struct {
		Schemas      []string `json:"schemas"`
		Total        int      `json:"totalResults"`
		StartIndex   int      `json:"startIndex"`
		ItemsPerPage int      `json:"itemsPerPage"`
		Resources    []T      `json:"Resources"`
	}{[]string{schemaList}, total, start, len(resources), resources}
}

// List returns a page of the users of the caller that a filter matches, in the order of their ids. Each has one userName, externalId and
// id, so that a filter with one of them finds one user at most, by an index.
func (s *Service) List(ctx context.Context, by Caller, q Query) (List, error) {
	list := List{StartIndex: q.StartIndex, projection: q.Projection}
	find, active, possible := s.plan(by, q.Filter)
	if !possible {
		return list, nil
	}
	if find == nil {
		users, total, err := s.accounts.ListProvisioned(ctx, by.Provisioner, active, q.StartIndex-1, q.Count)
		if err != nil {
			return List{}, err
		}
		for _, u := range users {
			list.Users = append(list.Users, s.resource(u))
		}
		list.Total = total
		return list, nil
	}
	u, err := find(ctx)
	if errors.Is(err, account.ErrNoUser) || err == nil && !s.matches(by, q.Filter, u) {
		return list, nil
	} else if err != nil {
		return List{}, err
	}
	if list.Total = 1; q.StartIndex == 1 && q.Count > 0 {
		list.Users = []Resource{s.resource(u)}
	}
	return list, nil
}

// plan returns how to find the one user that a filter can match. If it is nil, those with active are meant. possible is false for a
// filter that contradicts itself.
func (s *Service) plan(by Caller, f Filter) (find func(context.Context) (account.ProvisionedUser, error), active *bool, possible bool) {
	for _, c := range f {
		switch c.Attribute {
		case "id":
			find = func(ctx context.Context) (account.ProvisionedUser, error) {
				return s.accounts.Provisioned(ctx, by.Provisioner, c.Text)
			}
		case "externalId":
			find = func(ctx context.Context) (account.ProvisionedUser, error) {
				return s.accounts.ProvisionedSubject(ctx, by.Provisioner, c.Text)
			}
		case "userName":
			name, err := handle(by, c.Text)
			if err != nil { // of another domain
				return nil, nil, false
			}
			find = func(ctx context.Context) (account.ProvisionedUser, error) {
				return s.accounts.ProvisionedHandle(ctx, by.Provisioner, name)
			}
		case "active":
			if active != nil && *active != c.Active {
				return nil, nil, false
			}
			active = &c.Active
		}
	}
	return find, active, true
}

// matches reports whether every comparison of a filter holds for a user who was found by one of them.
func (s *Service) matches(by Caller, f Filter, u account.ProvisionedUser) bool {
	for _, c := range f {
		ok := false
		switch c.Attribute {
		case "id":
			ok = u.ID == c.Text
		case "externalId":
			ok = u.Subject == c.Text
		case "active":
			ok = u.Active() == c.Active
		case "userName":
			name, err := handle(by, c.Text)
			ok = err == nil && s.accounts.IsHandle(u.User, name)
		}
		if !ok {
			return false
		}
	}
	return true
}
