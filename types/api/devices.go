package api

import "time"

// An OwnDevice is a device as its user sees it.
type OwnDevice struct {
	ID     string `json:"id"`
	Device string `json:"device"` // its URI
	Name   string `json:"name,omitempty"`
	// Platform is a hint at its kind, from a closed list.
	Platform string `json:"platform,omitempty"`
	// ClientID is the app that it first logged in with, and Delegation the statement under which a key of the user added it.
	ClientID   string `json:"client_id,omitempty"`
	Delegation string `json:"delegation,omitempty"`
	KeyAlg     string `json:"key_alg,omitempty"`
	JKT        string `json:"jkt"` // the thumbprint of its key
	// FirstSeen and LastSeen are days, as 2026-11-27 in UTC.
	FirstSeen string `json:"first_seen"`
	LastSeen  string `json:"last_seen,omitempty"`
	// Login is its last login; nil if no session is left that tells of it.
	Login *DeviceLogin `json:"login,omitempty"`
	// Active says that it is signed in, or stands under a live delegation.
	Active  bool `json:"active"`
	Current bool `json:"current"` // it is the device that asks
}

// A DeviceLogin tells how a device logged in, as far as the OpenID provider said.
type DeviceLogin struct {
	Day      string   `json:"day"`                // in UTC
	Provider string   `json:"provider,omitempty"` // its id in the settings; empty if it is not configured any more
	ACR      string   `json:"acr,omitempty"`
	AMR      []string `json:"amr,omitempty"`
}

// A DeviceRemoval is the answer to a user who removed all other devices.
type DeviceRemoval struct {
	Removed int  `json:"removed"`
	More    bool `json:"more"` // there are more than one request removes: ask again
}

// An OwnEvent is something that happened to a device of a user.
type OwnEvent struct {
	Number int64     `json:"number"`
	Type   string    `json:"type"` // device_added, device_removed or device_rekeyed
	ID     string    `json:"id"`   // of the device
	Device string    `json:"device"`
	At     time.Time `json:"at"`
}

// OwnEvents are a page of the events of a user.
type OwnEvents struct {
	Events []OwnEvent `json:"events"`
	Next   int64      `json:"next"` // the since of the next request
	More   bool       `json:"more"`
}

// A Rekeyed is the answer to a device that replaced its key.
type Rekeyed struct {
	Device     string    `json:"device"`  // the URI of the device
	JKT        string    `json:"jkt"`     // the thumbprint of its key
	OldJKT     string    `json:"old_jkt"` // that of the replaced key
	ReplacedAt time.Time `json:"replaced_at"`
}
