package api

import "time"

// A WaitingDevice is a device that waits for the decision of a user (RFC 8628).
type WaitingDevice struct {
	UserCode   string `json:"user_code"` // as the device shows it
	ClientID   string `json:"client_id"`
	ClientName string `json:"client_name"`
	DeviceName string `json:"device_name,omitempty"` // as the device says
	Platform   string `json:"platform,omitempty"`    // likewise
	// Network is the network that its request came from, as a prefix. SameNetwork tells that the request of the user comes from it, too.
	Network     string `json:"network,omitempty"`
	SameNetwork bool   `json:"same_network"`
	// Scope and Resource are those of its tokens.
	Scope    string   `json:"scope"`
	Resource []string `json:"resource"`
	// Device is the id of the device of the user that has its key already.
	Device string `json:"device,omitempty"`
	// KeyInUse and DeviceLimitReached tell that it cannot be allowed.
	KeyInUse           bool      `json:"key_in_use"`
	DeviceLimitReached bool      `json:"device_limit_reached"`
	RequestedAt        time.Time `json:"requested_at"`
	ExpiresAt          time.Time `json:"expires_at"`
}
