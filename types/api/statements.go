package api

import "time"

// A Statement is a statement as its subject, or an operator, sees it. Members that its type does not have are absent.
type Statement struct {
	ID          string    `json:"id"` // its jti
	Type        string    `json:"typ"`
	Subject     string    `json:"sub"`
	Actor       string    `json:"actor,omitempty"`
	ActorIssuer string    `json:"actor_iss,omitempty"`
	Scope       string    `json:"scope,omitempty"`
	JKT         string    `json:"jkt,omitempty"`
	Limits      *Limits   `json:"limits,omitempty"`
	SameAs      string    `json:"same_as,omitempty"`
	MovedTo     string    `json:"moved_to,omitempty"`
	Member      string    `json:"member,omitempty"`
	Role        string    `json:"role,omitempty"`
	Guardian    string    `json:"guardian,omitempty"`
	Handle      string    `json:"handle,omitempty"`
	OldHandle   string    `json:"old_handle,omitempty"`
	Audience    []string  `json:"aud"`
	CreatedAt   time.Time `json:"created_at"`
	ExpiresAt   time.Time `json:"expires_at"`
	// Token is the signed statement. It is only in the answer to the request that made it.
	Token string `json:"token,omitempty"`
}

// Limits are those of a delegation to a user's own key.
type Limits struct {
	Devices    string   `json:"devices"`
	Count      int      `json:"count"`
	Lifetime   int64    `json:"lifetime"` // seconds
	Depth      int      `json:"depth"`
	Statements []string `json:"statements,omitempty"`
}

// A NewStatement is what an operator asks the issuer to sign. Which members it needs depends on its type.
type NewStatement struct {
	Type      string   `json:"typ"`
	Subject   string   `json:"sub"`
	SameAs    string   `json:"same_as,omitempty"`
	MovedTo   string   `json:"moved_to,omitempty"`
	Member    string   `json:"member,omitempty"`
	Role      string   `json:"role,omitempty"`
	Guardian  string   `json:"guardian,omitempty"`
	OldHandle string   `json:"old_handle,omitempty"`
	Audience  []string `json:"audience,omitempty"`
	ExpiresIn int64    `json:"expires_in,omitempty"` // seconds
}
