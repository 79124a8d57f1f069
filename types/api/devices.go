package api

import "time"

// A Rekeyed is the answer to a device that replaced its key.
type Rekeyed struct {
	Device     string    `json:"device"`  // the URI of the device
	JKT        string    `json:"jkt"`     // the thumbprint of its key
	OldJKT     string    `json:"old_jkt"` // that of the replaced key
	ReplacedAt time.Time `json:"replaced_at"`
}
