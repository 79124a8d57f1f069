package scim

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A Projection says which attributes an answer has (RFC 7644 §3.9). Its zero value has all.
type Projection struct {
	only, without map[string]bool // in lower case
}

// ReadProjection reads the parameters attributes and excludedAttributes. The error is an [*Error].
func ReadProjection(params url.Values) (p Projection, err error) {
	if params.Has("attributes") && params.Has("excludedAttributes") {
		return p, &Error{http.StatusBadRequest, InvalidValue, "Use either attributes or excludedAttributes."}
	}
	p.only, p.without = attributeSet(params.Get("attributes")), attributeSet(params.Get("excludedAttributes"))
	return p, nil
}

// attributeSet reads a list of attributes. A sub-attribute stands for its attribute.
func attributeSet(list string) map[string]bool {
	if list == "" {
		return nil
	}
	set := make(map[string]bool)
	for name := range strings.SplitSeq(list, ",") {
		name, _, _ = strings.Cut(coreName(strings.TrimSpace(name)), ".")
		set[name] = true
	}
	return set
}

// Of returns the members of a user. schemas and id are always there (RFC 7643 §7: returned "always").
func (p Projection) Of(r Resource) map[string]any {
	all := map[string]any{
		"userName": r.UserName,
		"active":   r.Active(),
		"meta": map[string]any{
			"resourceType": "User", "location": r.Location, "version": r.Version,
			"created": r.CreatedAt.UTC().Truncate(time.Second).Format(time.RFC3339),
		},
	}
	if r.Subject != "" {
		all["externalId"] = r.Subject
	}
	for name := range all {
		lower := strings.ToLower(name)
		if p.only != nil && !p.only[lower] || p.without[lower] {
			delete(all, name)
		}
	}
	all["schemas"], all["id"] = []string{SchemaUser}, r.ID
	return all
}

// Encode returns a user as JSON.
func (p Projection) Encode(r Resource) ([]byte, error) { return json.Marshal(p.Of(r)) }
