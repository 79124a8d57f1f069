package api

import "time"

// A User is a user as operators see them.
type User struct {
	Domain     string     `json:"domain"`
	ID         string     `json:"id"`
	Handle     string     `json:"handle"`
	CreatedAt  time.Time  `json:"created_at"`
	DisabledAt *time.Time `json:"disabled_at,omitempty"`
}

// A FoundUser is a user whom a search found.
type FoundUser struct {
	User
	// Found names where the text is: "id", "handle", "subject" or "device".
	Found []string `json:"found"`
}

// A Person is a user with their handles, links, devices and live sessions.
type Person struct {
	User
	URI       string    `json:"uri"`
	HandleURI string    `json:"handle_uri"`
	Handles   []Handle  `json:"handles"`
	Links     []Link    `json:"links"`
	Devices   []Device  `json:"devices"`
	Sessions  []Session `json:"sessions"`
}

// A Handle is a present or former handle of a user.
type Handle struct {
	// User is absent where the handle is part of its user.
	User       string     `json:"user,omitempty"`
	Handle     string     `json:"handle"`
	TakenAt    time.Time  `json:"taken_at"`
	ReleasedAt *time.Time `json:"released_at,omitempty"`
}

// A Link ties a user to an account at an OpenID provider.
type Link struct {
	Issuer    string    `json:"iss"`
	Subject   string    `json:"sub"`
	CreatedAt time.Time `json:"created_at"`
}

// A Session is a live session of a device, or one that an operator ended.
type Session struct {
	ID string `json:"sid"`
	// Domain and User are absent where the session is part of its user.
	Domain      string     `json:"domain,omitempty"`
	User        string     `json:"user,omitempty"`
	Client      string     `json:"client"`
	Device      string     `json:"device"`
	Scopes      []string   `json:"scopes"`
	Audience    []string   `json:"audience"`
	CreatedAt   time.Time  `json:"created_at"`
	RefreshedAt *time.Time `json:"refreshed_at,omitempty"`
	// ExpiresAt is when the session ends unless it is refreshed, or at the latest.
	ExpiresAt   time.Time  `json:"expires_at"`
	EndedAt     *time.Time `json:"ended_at,omitempty"`
	EndedReason string     `json:"ended_reason,omitempty"`
}

// A DisabledUser is a user after they were disabled.
type DisabledUser struct {
	User
	SessionsEnded int `json:"sessions_ended"`
}

// A RemovedUser is what is known of a user who was removed.
type RemovedUser struct {
	Domain string `json:"domain"`
	// ID is empty if the user was removed before and named by a handle.
	ID string `json:"id,omitempty"`
	// RemovedOn is a day, as in 2026-11-27.
	RemovedOn string `json:"removed_on"`
	// Changed is false if the user had been removed before.
	Changed       bool `json:"changed"`
	SessionsEnded int  `json:"sessions_ended"`
}

// An ErasedUser is what is known of a user who was erased.
type ErasedUser struct {
	RemovedUser
	// Statements is how many statements of others named the user, and ended.
	Statements int `json:"statements_ended"`
}

// An Export holds everything that is stored about a user, as a JWT of type im-export+jwt.
type Export struct {
	Export string `json:"export"`
}

// A Device is a device as operators see it.
type Device struct {
	Domain        string     `json:"domain"`
	ID            string     `json:"id"`
	User          string     `json:"user"`
	Handle        string     `json:"handle,omitempty"` // of the user; in lists of devices
	JKT           string     `json:"jkt"`
	Name          string     `json:"name,omitempty"`
	Platform      string     `json:"platform,omitempty"` // a hint at its kind
	KeyAlg        string     `json:"key_alg,omitempty"`
	Client        string     `json:"client"`
	CreatedAt     time.Time  `json:"created_at"`
	RemovedAt     *time.Time `json:"removed_at,omitempty"`
	RemovedReason string     `json:"removed_reason,omitempty"`
	// Use is only in the answer about one device.
	Use *DeviceUse `json:"use,omitempty"`
}

// A DeviceUse tells operators how a device is used.
type DeviceUse struct {
	// Active says that it is signed in or under a live delegation.
	Active bool       `json:"active"`
	SeenAt *time.Time `json:"seen_at,omitempty"`
	// LoginAt is its last login, absent if no session is left, and the others what the OpenID provider said of it.
	LoginAt *time.Time `json:"login_at,omitempty"`
	Issuer  string     `json:"iss,omitempty"`
	ACR     string     `json:"acr,omitempty"`
	AMR     []string   `json:"amr,omitempty"`
}

// Privacy is what a user decided about themselves.
type Privacy struct {
	FindableBy string `json:"findable_by"` // handle or nobody
}

// A ReleasedHandle is a former handle that others can take again.
type ReleasedHandle struct {
	Domain  string   `json:"domain"`
	Handle  string   `json:"handle"`
	User    string   `json:"former_user"`
	Handles []string `json:"released"` // all spellings
}
