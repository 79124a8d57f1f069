package introspect

import (
	"context"
	"crypto"
)

// Keys are the issuer's keys. They are safe for concurrent use.
type Keys interface {
	// Public returns the key of that kid and its JOSE algorithm, and false if there is none or it was revoked.
	Public(kid string) (key crypto.PublicKey, alg string, ok bool)
}

// Awaited keys are [Keys] that learn of new ones from a store, with a delay. Await returns when they know every key that was made before
// the call, by whatever node. It is called before a token under a key that they do not know is taken for none of the issuer's. An
// error means that this is not known now.
type Awaited interface {
	Await(ctx context.Context, kid string) error
}

// Revocations are the issuer's revocations. They are safe for concurrent use.
type Revocations interface {
	// Revoked returns the reason of a revocation that matches t, and "" if none does. It is asked for every question, with
	// the zero Token for a text that is no token of the issuer. An error means that the revocations are not known now.
	Revoked(ctx context.Context, t Token) (Reason, error)
}

// Records are what the issuer has stored about sessions and statements. These end without a revocation when what they
// rest on ends. Records are safe for concurrent use.
type Records interface {
	// Session returns the reason why the session of an actor ended, and "" if it has not. sid may also be the jti of the
	// statement under which a device without a session has its key. An error means that this is not known now.
	Session(ctx context.Context, sid string) (Reason, error)
	// Statement returns the reason why a statement of the issuer ended, and "" if it has not. An error means that this is
	// not known now.
	Statement(ctx context.Context, jti string) (Reason, error)
}

// A Token holds the identifiers that a revocation may match. Absent ones are empty.
type Token struct {
	JTI, SID string
	// Domain is that of User and Device, which are ids within it.
	Domain, User, Device string
	ClientID             string
	KID                  string // of the key that signed it
	Gen                  int64
}

// A Reason is why a token is not active. If a token is inactive because of one that it encloses, the reason may also be a
// code of package nested.
type Reason string

// The reasons.
const (
	Expired       Reason = "expired"
	Revoked       Reason = "revoked"
	DeviceRemoved Reason = "device_removed"
	UserDisabled  Reason = "user_disabled"
	HandleChanged Reason = "handle_changed"
	Superseded    Reason = "superseded" // all tokens of the user from before some moment were ended
	// InvalidProof is the reason for a token that is active, but not for the sender of what was shown.
	InvalidProof Reason = "invalid_proof"
)
