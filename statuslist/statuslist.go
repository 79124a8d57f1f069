// Package statuslist makes, publishes and reads Token Status Lists (draft-ietf-oauth-status-list-20): one signed document says of many
// tokens which are still valid, so that a verifier can check them without a question about each.
//
// An issuer sets the statuses of a [List], signs a [Token] that holds it, and puts a [Reference] into each token that it issues. A
// verifier gives the reference to a [Reader], which fetches the list, checks it and keeps it for a while:
//
//	err := reader.Check(ctx, issuer, ref)
//	var status *statuslist.StatusError
//	switch {
//	case err == nil: // valid
//	case errors.As(err, &status): // revoked, suspended, …
//	default: // errors.Is(err, statuslist.ErrUnknown): it cannot be known now
//	}
//
// Check the token itself first: a token that has expired is expired, whatever its status says (§8.3). Only the JWT format is
// supported. The package uses the standard library alone and knows nothing of storage.
package statuslist

import "strconv"

// MediaType is the type of a list in JWT format over HTTP (§8.2).
const MediaType = "application/statuslist+jwt"

// A Status is the value of an entry of a list (§7.1).
type Status uint8

// The registered values, and the first one that each application gives a meaning of its own. Those from 12 to 15 are application
// specific, too; all others are reserved.
const (
	Valid       Status = 0
	Invalid     Status = 1
	Suspended   Status = 2
	Application Status = 3
)

// String returns the registered name of a value, or its number.
func (s Status) String() string {
	switch s {
	case Valid:
		return "VALID"
	case Invalid:
		return "INVALID"
	case Suspended:
		return "SUSPENDED"
	}
	return "status " + strconv.Itoa(int(s))
}
