package trace

import (
	"slices"
)

// An Attribute is the name of an attribute of spans. These are all; docs/tracing.md says what each holds. Those without the prefix
// issuer are of the semantic conventions of OpenTelemetry.
type Attribute string

// The attributes of spans.
const (
	Method        Attribute = "http.request.method"
	Route         Attribute = "http.route"
	Status        Attribute = "http.response.status_code"
	ErrorType     Attribute = "error.type"
	ServerAddress Attribute = "server.address"    // a host of the settings
	Database      Attribute = "db.system.name"    // sqlite, postgresql or redis
	Operation     Attribute = "db.operation.name" // of storage.Store or dpop.Replay

	RequestID   Attribute = "issuer.request_id"
	ErrorCode   Attribute = "issuer.error" // of the answer: that of OAuth, or of this program
	GrantType   Attribute = "issuer.grant_type"
	ClientKind  Attribute = "issuer.client_kind" // public, secret or private_key_jwt
	Provider    Attribute = "issuer.provider"    // the id of an OpenID provider in the settings
	Purpose     Attribute = "issuer.purpose"     // of an outgoing request
	StorageRuns Attribute = "issuer.storage_runs"
	Outcome     Attribute = "gateway.outcome"
	Reason      Attribute = "gateway.reason"
)

// methods are the values of [Method], and other stands for all others.
var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

const other = "_OTHER"

func method(name string) string {
	if slices.Contains(methods, name) {
		return name
	}
	return other
}
