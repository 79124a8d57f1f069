package api

import "time"

// A Key is a signing key as operators see it, without its secret part.
type Key struct {
	KID   string `json:"kid"`
	Alg   string `json:"alg"`
	State string `json:"state"` // published, signing, retired or revoked
	// Since is when the key came into its state, and Until when it leaves it, if that is known.
	Since     time.Time  `json:"since"`
	Until     *time.Time `json:"until,omitempty"`
	CreatedAt time.Time  `json:"created_at"`
	Reason    string     `json:"reason,omitempty"` // for a revoked key
}

// A KeyChange is a signing key after a request to rotate or revoke it. Changed is false if nothing had to change.
type KeyChange struct {
	Key
	Changed bool `json:"changed"`
}

// A Backup is a backup that was made.
type Backup struct {
	File  string `json:"file"`
	Bytes int64  `json:"bytes"`
}

// A ClusterSecret is a secret that all nodes share as operators see it: without itself.
type ClusterSecret struct {
	ID    string `json:"id"`
	State string `json:"state"` // published, current or retired
	// Since is when the secret came into its state; nil for the first one. Until is when it leaves it, if that is known.
	Since *time.Time `json:"since,omitempty"`
	Until *time.Time `json:"until,omitempty"`
}

// A KeyEncryptionKey is a key under which secrets are sealed, as operators see it: without itself.
type KeyEncryptionKey struct {
	ID      string `json:"id"`
	State   string `json:"state"`   // current, configured, or missing at the node that was asked
	Secrets int    `json:"secrets"` // that are sealed under it
}

// A WireKey is the key that signs tokens for certificate authorities of Wire.
type WireKey struct {
	KID string `json:"kid"`
	Alg string `json:"alg"`
	PEM string `json:"pem"` // the public key
}
