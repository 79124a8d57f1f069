package api

import "time"

// An OwnCredential is a lasting credential of a device as its user sees it.
type OwnCredential struct {
	ID     string `json:"id"`     // its jti
	Device string `json:"device"` // the URI of its device
	Format string `json:"format"` // as OpenID4VCI names it
	// Handle is the URI of the handle that it states; empty if it states none, or one that the user no longer has.
	Handle string `json:"handle,omitempty"`
	JKT    string `json:"jkt"` // the thumbprint of the key that it is bound to
	// Issued, Expires and Ended are days, as 2026-11-27 in UTC.
	Issued  string `json:"issued"`
	Expires string `json:"expires"`
	Ended   string `json:"ended,omitempty"`
	State   string `json:"state"` // live, handle_ended or ended
}

// A Credential is a lasting credential of a device as operators see it.
type Credential struct {
	Domain string `json:"domain"`
	ID     string `json:"id"`     // its jti
	User   string `json:"user"`   // the id of the user
	Device string `json:"device"` // the id of the device
	Format string `json:"format"` // as OpenID4VCI names it
	JKT    string `json:"jkt"`    // the thumbprint of the key that it is bound to
	// Handle is the local part of the handle that it states; empty if it states none.
	Handle        string     `json:"handle,omitempty"`
	State         string     `json:"state"` // live, handle_ended (of a live one, the handle alone has ended) or ended
	IssuedAt      time.Time  `json:"issued_at"`
	ExpiresAt     time.Time  `json:"expires_at"`
	EndedAt       *time.Time `json:"ended_at,omitempty"`
	EndedReason   string     `json:"ended_reason,omitempty"`
	HandleEndedAt *time.Time `json:"handle_ended_at,omitempty"`
}
