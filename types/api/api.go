// Package api defines the JSON of the issuer's own endpoints: what operators ask at the admin socket, the statements that
// users make about themselves, and errors. The server writes these types, and its clients read them.
//
// The JSON of introspection is introspect.Answer, in the package that other programs import for it.
//
// Times are RFC 3339 in UTC. A time that never came is absent. The package holds data only, and imports nothing of this
// module.
package api

// MaxMap is how many bytes the lines of moves of links may have together.
const MaxMap = 256 << 10

// TypeLines is the media type of lines of JSON.
const TypeLines = "application/x-ndjson"

// An Error is the body of every refusal (RFC 6749 §5.2).
type Error struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
	// ServerTime is the server's time in seconds since 1970, for a client whose clock is wrong; else 0.
	ServerTime int64 `json:"server_time,omitempty"`
}
