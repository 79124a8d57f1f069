package storage

import "time"

// A BrowserSession is the sign-in of a browser at the issuer itself, for the pages where users manage their account. It is identified
// by the SHA-256 of the cookie that the browser has. It issues no tokens, and is deleted when it ends.
type BrowserSession struct {
	Hash     [32]byte
	Domain   string
	User     string
	Provider string // id of the OpenID provider in the settings
	// Issuer, UpstreamSID, AuthTime, ACR, AMR and UpstreamToken are those of the login at the provider, as in a [Grant].
	Issuer        string
	UpstreamSID   string
	AuthTime      time.Time
	ACR           string
	AMR           []string
	UpstreamToken string
	CreatedAt     time.Time
	UsedAt        time.Time
	// IdleAt is when the session ends unless it is used, and never after ExpiresAt, when it ends in any case.
	IdleAt    time.Time
	ExpiresAt time.Time
}
