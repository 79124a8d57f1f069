package mls

import (
	"errors"
	"fmt"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
)

// A Member is a member of a group: what [Validate] returned for its credential.
type Member struct {
	credential.Credential
	Err error
}

// ErrOtherClient is returned by [Successor] for a credential of another device or user, or one whose handle or key was changed without a
// record of it.
var ErrOtherClient = errors.New("mls: not the same client, or changed without a record of it")

// Successor returns nil if a member may replace the credential old by next (RFC 9420 §5.3.1): both are of the same device of the same user,
// and handle and key are the same or changed as recorded in history ([claims.Successor]). A nil history has no changes. A credential
// that does not disclose the handle presents none, which is no change. One without the user is compared by the device, which names it.
//
// Next must be good. Old may have expired (RFC 9420 §5.3.2), but a credential that has ended has no successor. What is known of old must
// be of now, so validate it anew.
//
// The error is [ErrOtherClient], or wraps that of old or next: a *[credential.Error] is a refusal; any other one means that this cannot be
// known now.
func Successor(old, next Member, history claims.History) error {
	if old.Err != nil && !errors.Is(old.Err, credential.CodeExpired) {
		return fmt.Errorf("mls: the old credential: %w", old.Err)
	}
	if next.Err != nil {
		return fmt.Errorf("mls: the new credential: %w", next.Err)
	}
	was, is := old.Client(), next.Client()
	if was.Handle.IsZero() || is.Handle.IsZero() {
		was.Handle, is.Handle = claims.ID{}, claims.ID{}
	}
	if was.User.IsZero() || is.User.IsZero() { // as in certificates of the device alone: the device names its user
		was.User, is.User = was.Device, is.Device
	}
	if !claims.Successor(was, is, history) {
		return ErrOtherClient
	}
	return nil
}
