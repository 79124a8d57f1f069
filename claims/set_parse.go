package claims

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/imidentity/issuer/internal/jose"
)

// names are the members of a set. One of these names in another case is refused, because readers that fold case would read it as
// the claim.
var names = []string{
	"iss", "sub", "handle", "device", "aud", "client_id", "scope", "jti", "iat", "nbf", "exp", "auth_time", "acr", "amr",
	"sid", "gen", "cnf", "act", "may_act", "home_iss", "tokens", "status",
}

var (
	errNotInteger = errors.New("not a whole number")
	errNotArray   = errors.New("not an array")
	errEmpty      = errors.New("empty")
	errReference  = errors.New("idx or uri is missing")
)

// ParseSet reads the payload of an access token. It refuses repeated members, members whose names differ from a claim's only in case,
// claims of the wrong type, empty audiences and identifiers, and times that are not seconds since 1970. Times in milliseconds, as
// in the figures of draft-mahy-mimi-identity, are out of range. Unknown members are ignored. [Set.Validate] checks the values.
func ParseSet(data []byte) (Set, error) {
	var s Set
	if err := readObject(data, names, s.member); err != nil {
		return Set{}, fmt.Errorf("claims: %w", err)
	}
	return s, nil
}

// UnmarshalJSON reads a set as [ParseSet] does. encoding/json, which calls it, does not refuse repeated members around the set.
func (s *Set) UnmarshalJSON(data []byte) error {
	set, err := ParseSet(data)
	if err == nil {
		*s = set
	}
	return err
}

// readObject calls fn for each member of a JSON object. The function returns false for a name that it does not know.
func readObject[T string | []byte](data T, names []string, fn func(name, raw string) (bool, error)) error {
	return jose.ObjectText(data, func(name, raw string) error {
		switch known, err := fn(name, raw); {
		case err != nil:
			return fmt.Errorf("%s: %w", name, err)
		case !known:
			return jose.CheckCase(name, names)
		}
		return nil
	})
}

func (s *Set) member(name, raw string) (known bool, err error) {
	switch name {
	case "iss":
		s.Issuer, err = text(raw)
	case "sub":
		s.Subject, err = text(raw)
	case "handle":
		s.Handle, err = text(raw)
	case "device":
		s.Device, err = text(raw)
	case "aud":
		s.Audience, err = audience(raw)
	case "client_id":
		s.ClientID, err = text(raw)
	case "scope":
		s.Scope, err = jose.String(raw)
	case "jti":
		s.JTI, err = text(raw)
	case "iat":
		s.IssuedAt, err = jose.NumericDate(raw)
	case "nbf":
		s.NotBefore, err = jose.NumericDate(raw)
	case "exp":
		s.Expires, err = jose.NumericDate(raw)
	case "auth_time":
		s.AuthTime, err = jose.NumericDate(raw)
	case "acr":
		s.ACR, err = jose.String(raw)
	case "amr":
		s.AMR, err = jose.Strings(raw)
	case "sid":
		s.SID, err = text(raw)
	case "gen":
		s.Gen, err = integer(raw)
	case "cnf":
		err = readObject(raw, []string{"jkt"}, s.confirmation)
	case "act":
		s.Actor, err = actor(raw)
	case "may_act":
		s.MayAct, err = actor(raw)
	case "home_iss":
		s.HomeIss, err = text(raw)
	case "tokens":
		s.Tokens, err = array(raw)
	case "status":
		err = readObject(raw, []string{"status_list"}, s.status)
	default:
		return false, nil
	}
	return true, err
}

func (s *Set) confirmation(name, raw string) (known bool, err error) {
	if name == "jkt" {
		s.JKT, err = text(raw)
		return true, err
	}
	return false, nil
}

func (s *Set) status(name, raw string) (known bool, err error) {
	if name != "status_list" {
		return false, nil
	}
	var status Status
	hasIndex := false
	s.Status = &status
	err = readObject(raw, []string{"idx", "uri"}, func(name, raw string) (known bool, err error) {
		switch name {
		case "idx":
			hasIndex = true
			status.Index, err = strconv.ParseUint(raw, 10, 64)
			if err != nil {
				err = errNotInteger
			}
		case "uri":
			status.URI, err = text(raw)
		default:
			return false, nil
		}
		return true, err
	})
	if err == nil && (!hasIndex || status.URI == "") { // draft-ietf-oauth-status-list-20 §6.2: both are required
		err = errReference
	}
	return true, err
}

func actor(raw string) (*Actor, error) {
	a := new(Actor)
	return a, readObject(raw, []string{"sub", "iss", "client_id", "sid", "act"}, func(name, raw string) (known bool, err error) {
		switch name {
		case "sub":
			a.Subject, err = text(raw)
		case "iss":
			a.Issuer, err = text(raw)
		case "client_id":
			a.ClientID, err = text(raw)
		case "sid":
			a.SID, err = text(raw)
		case "act":
			a.Actor, err = actor(raw)
		default:
			return false, nil
		}
		return true, err
	})
}

// text reads a string that must not be empty: an empty claim would look like an absent one.
func text(raw string) (string, error) {
	s, err := jose.String(raw)
	if err == nil && s == "" {
		err = errEmpty
	}
	return s, err
}

// audience reads a string or an array of strings (RFC 7519 §4.1.3).
func audience(raw string) ([]string, error) {
	if len(raw) > 0 && raw[0] == '"' {
		s, err := text(raw)
		return []string{s}, err
	}
	list, err := jose.Strings(raw)
	if err == nil && (len(list) == 0 || slices.Contains(list, "")) {
		err = errEmpty
	}
	return list, err
}

func integer(raw string) (int64, error) {
	n, err := strconv.ParseInt(raw, 10, 64)
	if err != nil {
		return 0, errNotInteger
	}
	return n, nil
}

func array(raw string) (json.RawMessage, error) {
	if len(raw) == 0 || raw[0] != '[' {
		return nil, errNotArray
	}
	return json.RawMessage(raw), nil
}
