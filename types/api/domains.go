package api

// A Domain is a domain of the issuer with its settings.
type Domain struct {
	Name   string `json:"name"`
	System string `json:"system"`
	URI    string `json:"uri"`
	// UserClaim and HandleClaim are the claims of providers that become ids and handles.
	UserClaim    string     `json:"user_claim,omitempty"`
	HandleClaim  string     `json:"handle_claim"`
	ChooseHandle bool       `json:"choose_handle"`
	Protected    []string   `json:"protected"`
	Scripts      string     `json:"scripts"`
	StatusList   bool       `json:"status_list"`
	OtherIssuers []string   `json:"other_issuers"`
	Providers    []Provider `json:"providers"`
}

// A Provider is an OpenID provider of a domain.
type Provider struct {
	ID                   string   `json:"id"`
	Name                 string   `json:"name"`
	Issuer               string   `json:"issuer"`
	ClientID             string   `json:"client_id"`
	Scopes               []string `json:"scopes"`
	SubjectClaim         string   `json:"subject_claim"`
	AuthoritativeHandles bool     `json:"authoritative_handles"`
}
