package statuslist

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/imidentity/issuer/internal/jose"
)

// maxURI is how long the address of a list may be.
const maxURI = 2048

// A Reference names the entry of a token in a list (§6.2). A token carries it in its claim `status`:
//
//	"status": {"status_list": {"idx": 48211, "uri": "https://id.example.net/status/7hJ4kQ"}}
type Reference struct {
	Index uint64 // idx
	URI   string // uri: the address of the list, and its sub
}

// ParseReference reads the value of a claim `status`. Other status mechanisms beside `status_list` are ignored (§6.1). The error is
// [ErrReference] if there is no `status_list`, or if it lacks a member or has one of another type.
func ParseReference(status []byte) (Reference, error) {
	var ref Reference
	var hasList, hasIndex bool
	err := jose.ReadMembers(status, jose.Member{Name: "status_list", Read: func(raw []byte) error {
		hasList = true
		return jose.ReadMembers(raw,
			jose.Member{Name: "idx", Read: func(raw []byte) (err error) {
				hasIndex = true
				ref.Index, err = strconv.ParseUint(string(raw), 10, 64)
				if err != nil {
					err = errors.New("not a whole number")
				}
				return err
			}},
			jose.Member{Name: "uri", Text: &ref.URI, Required: true, Max: maxURI})
	}})
	switch {
	case err != nil:
		return Reference{}, fault(ErrReference, err)
	case !hasList:
		return Reference{}, fault(ErrReference, errors.New("status_list is missing"))
	case !hasIndex:
		return Reference{}, fault(ErrReference, errors.New("idx is missing"))
	}
	return ref, nil
}

// AppendJSON appends the value of the claim `status` to b.
func (r Reference) AppendJSON(b []byte) []byte {
	b = strconv.AppendUint(append(b, `{"status_list":{"idx":`...), r.Index, 10)
	uri, _ := json.Marshal(r.URI) // a string has no error
	return append(append(append(b, `,"uri":`...), uri...), "}}"...)
}

// MarshalJSON returns the value of the claim `status`.
func (r Reference) MarshalJSON() ([]byte, error) { return r.AppendJSON(nil), nil }

// UnmarshalJSON reads the value of the claim `status` as [ParseReference] does.
func (r *Reference) UnmarshalJSON(status []byte) error {
	ref, err := ParseReference(status)
	if err == nil {
		*r = ref
	}
	return err
}

// checkURI returns [ErrReference] for an address that is never fetched.
func checkURI(uri string, allowHTTP bool) error {
	u, err := url.Parse(uri)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return fault(ErrReference, errors.New("uri: not a URL with a host, without user and fragment"))
	case len(uri) > maxURI:
		return fault(ErrReference, fmt.Errorf("uri: longer than %d bytes", maxURI))
	case u.Scheme != "https" && !(allowHTTP && u.Scheme == "http"):
		return fault(ErrReference, errors.New("uri: not https"))
	}
	return nil
}
