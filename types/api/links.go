package api

// Relinked says which links were moved, or with DryRun would be moved.
type Relinked struct {
	Domain string `json:"domain"`
	DryRun bool   `json:"dry_run"`
	Moves  []Move `json:"moves"`
	// Unknown are the issuers of new accounts that no provider of the settings has: nobody can sign in there yet.
	Unknown []string `json:"unknown_issuers,omitempty"`
}

// A Move is one link that was moved.
type Move struct {
	Line   int     `json:"line"`
	User   string  `json:"user"`
	Former string  `json:"former_user,omitempty"` // the user who had the link before, if that was another one
	From   Subject `json:"from"`
	To     Subject `json:"to"`
}

// A Subject is an account at an OpenID provider.
type Subject struct {
	Issuer  string `json:"iss"`
	Subject string `json:"sub"`
}
