package storage

import "time"

// An UpstreamToken is the refresh token of a login at an OpenID provider, with which the issuer asks the provider whether the login still
// stands. The grants, codes, device codes and browser sessions that came from the login name it. It is deleted with the last of them: a
// grant that has ended and a code that was spent do not count.
type UpstreamToken struct {
	ID       string
	Domain   string
	User     string
	Provider string // id of the OpenID provider in the settings
	// Sealed is the refresh token and what answers are compared with, sealed by the package that wrote it. It is empty if the token is
	// lost.
	Sealed []byte
	State  UpstreamState
	// Number counts the changes of the record.
	Number    int64
	CreatedAt time.Time
	// CheckedAt is when the provider was last asked with success: at the login, or later.
	CheckedAt time.Time
	// RetryAt is when the provider may be asked again: after a failure, or because a node that asks has stopped. Zero means at any time.
	RetryAt time.Time
}

// An UpstreamState says what the provider may have done with an [UpstreamToken].
type UpstreamState int

const (
	// UpstreamKnown: the token is the newest that the provider has given.
	UpstreamKnown UpstreamState = iota
	// UpstreamAsking: a node asks the provider. If RetryAt has passed, it stopped in the middle.
	UpstreamAsking
	// UpstreamUnsure: an answer was lost. The provider may have replaced the token.
	UpstreamUnsure
	// UpstreamLost: the provider has replaced the token, and nobody has the new one.
	UpstreamLost
)
