package api

// A Profile is a user as they see themselves. Former handles are not in it.
type Profile struct {
	User    string `json:"user"`    // URI
	Handle  string `json:"handle"`  // URI
	Display string `json:"display"` // the handle as people write it, such as @alice@example.com
	Domain  string `json:"domain"`
	Created string `json:"created"` // a day in UTC
	// Devices, Sessions and Statements count at most 100.
	Devices    int           `json:"devices"`
	Sessions   int           `json:"sessions"`
	Statements int           `json:"statements"`
	Rename     ProfileRename `json:"rename"`
}

// A ProfileRename says who gives a user another handle.
type ProfileRename struct {
	By string `json:"by"` // admin, user or provider
	// After is when the user may choose another handle, with the time; empty if at once or if they may not.
	After string `json:"after,omitempty"`
}

// An OwnHandle is the answer to a user who chose another handle.
type OwnHandle struct {
	Handle  string `json:"handle"` // URI
	Display string `json:"display"`
}

// An OwnSession is a live session as its user sees it.
type OwnSession struct {
	ID     string `json:"id"`
	Device string `json:"device"` // URI
	// ClientID is the app that logged in. ClientName is empty if it has no other name.
	ClientID   string   `json:"client_id"`
	ClientName string   `json:"client_name,omitempty"`
	Scope      string   `json:"scope"`
	Audience   []string `json:"audience"`
	// Created, LastUsed and Expires are days in UTC. Expires is the last one, if the app goes on to use the session.
	Created  string      `json:"created"`
	LastUsed string      `json:"last_used"`
	Expires  string      `json:"expires"`
	Login    DeviceLogin `json:"login"`
	Current  bool        `json:"current"` // it is the session that asks
}

// A SessionsEnded is the answer to a user who ended all other sessions.
type SessionsEnded struct {
	Ended int  `json:"ended"`
	More  bool `json:"more"` // there are more than one request ends: ask again
}

// A ProviderLink is an account at an OpenID provider with which a user signs in.
type ProviderLink struct {
	ID       string `json:"id"`
	Provider string `json:"provider,omitempty"` // its id in the settings; empty if it is not configured any more
	Issuer   string `json:"iss"`
	Since    string `json:"since"` // a day in UTC
}
