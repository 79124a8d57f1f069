package statuslist

import "errors"

// ErrUnknown is the error of every status that cannot be known: it says nothing about the token. Each of the errors below that a
// [Reader] returns wraps it. A verifier refuses such a token for now, and does not call it revoked (§8.3).
var ErrUnknown = errors.New("statuslist: the status cannot be known")

// The reasons why a status cannot be known.
var (
	// ErrUnreachable means that the list could not be fetched, and that none is kept that may still be used.
	ErrUnreachable error = reason("statuslist: the list cannot be fetched")
	// ErrStale means that the list that was fetched has expired, or is older than the reader allows.
	ErrStale error = reason("statuslist: the list is too old")
	// ErrRollback means that the list that was fetched is older than one that the reader has seen.
	ErrRollback error = reason("statuslist: the list is older than one that was seen before")
	// ErrTooLarge means that the list has more bytes than the reader allows, packed or unpacked.
	ErrTooLarge error = reason("statuslist: the list is too large")
	// ErrMalformed means that what was fetched is not a status list token of this format.
	ErrMalformed error = reason("statuslist: the list is malformed")
	// ErrIssuer means that the list is of another issuer than the token.
	ErrIssuer error = reason("statuslist: the list is of another issuer")
	// ErrSubject means that the list was made for another address: its sub is not the uri of the reference.
	ErrSubject error = reason("statuslist: the list is another one: its sub is not its address")
	// ErrKey means that no key of the issuer verifies the list, or that the key cannot be known now.
	ErrKey error = reason("statuslist: no key of the issuer verifies the list")
	// ErrIndex means that the list has no entry with the index of the reference.
	ErrIndex error = reason("statuslist: the index is outside the list")
	// ErrBits means that the entries of the list do not have the expected number of bits.
	ErrBits error = reason("statuslist: entries of another number of bits")
	// ErrReference means that the reference of the token is malformed, or that its address may not be fetched.
	ErrReference error = reason("statuslist: the reference is malformed")
)

// A reason is one of the errors above.
type reason string

func (r reason) Error() string { return string(r) }
func (r reason) Unwrap() error { return ErrUnknown }

// fault returns an error that is kind, and says more.
func fault(kind, cause error) error { return &faultError{kind, cause} }

type faultError struct{ kind, cause error }

func (e *faultError) Error() string   { return e.kind.Error() + ": " + e.cause.Error() }
func (e *faultError) Unwrap() []error { return []error{e.kind, e.cause} }

// A StatusError is returned by [Reader.Check] for a token whose status is known and is not [Valid].
type StatusError struct{ Status Status }

// Error names the status.
func (e *StatusError) Error() string {
	return "statuslist: the status of the token is " + e.Status.String()
}
