package api

// An OwnXSign holds the statements of cross signing that a user has stored: each a JWS of package xsign.
type OwnXSign struct {
	Keys       string   `json:"keys,omitempty"`
	Succession []string `json:"succession"` // of earlier master keys, the oldest first
	Devices    string   `json:"devices,omitempty"`
	Vouches    []string `json:"vouches"` // all vouches and distrusts of the user
}

// XSignUsers are the users that a question is about and that have statements, by their URIs.
type XSignUsers struct {
	Users map[string]XSignUser `json:"users"`
	// Omitted are users that did not fit into the answer: ask about them again.
	Omitted []string `json:"omitted,omitempty"`
}

// An XSignUser holds the statements of a user, and public vouches about the user.
type XSignUser struct {
	XSignBundle
	Vouches []XSignVouch `json:"vouches"`
	// MoreVouches says that there are more: ask for those of some authors.
	MoreVouches bool `json:"more_vouches,omitempty"`
}

// An XSignBundle holds the statements of a user about their own keys and devices. It has none for a user of another issuer.
type XSignBundle struct {
	Keys       string   `json:"keys,omitempty"`
	Succession []string `json:"succession,omitempty"`
	Devices    string   `json:"devices,omitempty"`
}

// An XSignVouch is a public vouch with its author and the keys of the author.
type XSignVouch struct {
	User  string      `json:"user"` // URI of the author
	By    XSignBundle `json:"by"`   // without devices
	Vouch string      `json:"vouch"`
}
