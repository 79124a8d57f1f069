package scim

import (
	"encoding/json"
	"strconv"
)

// The values of scimType that are used here (RFC 7644 §3.12, table 9).
const (
	InvalidFilter = "invalidFilter"
	InvalidPath   = "invalidPath"
	InvalidSyntax = "invalidSyntax"
	InvalidValue  = "invalidValue"
	Mutability    = "mutability"
	NoTarget      = "noTarget"
	Uniqueness    = "uniqueness"
)

// The URNs of schemas and messages.
const (
	SchemaUser = "urn:ietf:params:scim:schemas:core:2.0:User"

	schemaPatch    = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
	schemaList     = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
	schemaError    = "urn:ietf:params:scim:api:messages:2.0:Error"
	schemaProvider = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
	schemaType     = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
	schemaSchema   = "urn:ietf:params:scim:schemas:core:2.0:Schema"
)

// An Error is a refusal in the words of RFC 7644 §3.12.
type Error struct {
	Status int    // of HTTP
	Type   string // scimType, may be empty
	Detail string // for people
}

func (e *Error) Error() string { return "scim: " + e.Detail }

// MarshalJSON returns the body of the answer.
func (e *Error) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Schemas []string `json:"schemas"`
		Status  string   `json:"status"`
		Type    string   `json:"scimType,omitempty"`
		Detail  string   `json:"detail"`
	}{[]string{schemaError}, strconv.Itoa(e.Status), e.Type, e.Detail})
}
