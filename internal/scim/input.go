package scim

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/imidentity/issuer/internal/jose"
)

// An Input is what a request says about a user. What is nil was not said.
type Input struct {
	UserName   *string
	ExternalID *string
	Active     *bool
}

// ReadUser reads the body of POST or PUT: a user of the core schema. Attributes that are not those of [Input] are accepted and dropped. The
// error is an [*Error].
func ReadUser(body []byte) (Input, error) {
	var in Input
	members, err := object(body)
	if err != nil {
		return in, err
	}
	if err := demand(members["schemas"], SchemaUser); err != nil {
		return in, err
	}
	return in, in.merge(members)
}

// ReadPatch reads the body of PATCH (RFC 7644 §3.5.2) and returns what its operations lead to. The error is an [*Error].
func ReadPatch(body []byte) (Input, error) {
	var in Input
	members, err := object(body)
	if err != nil {
		return in, err
	}
	if err := demand(members["schemas"], schemaPatch); err != nil {
		return in, err
	}
	var operations []json.RawMessage
	if err := json.Unmarshal(members["operations"], &operations); err != nil || len(operations) == 0 {
		return in, &Error{400, InvalidSyntax, "The member Operations must be a list of operations, which is not empty."}
	}
	for i, raw := range operations {
		if err := in.apply(raw); err != nil {
			err.Detail = fmt.Sprintf("Operation %d: %s", i+1, err.Detail)
			return Input{}, err
		}
	}
	return in, nil
}

// apply applies one operation of a PATCH. Entra ID writes the operator with a capital letter.
func (in *Input) apply(raw []byte) *Error {
	members, err := object(raw)
	if err != nil {
		return &Error{400, InvalidSyntax, "It is not an object without repeated members."}
	}
	op, err := jose.String(members["op"])
	op = strings.ToLower(op)
	if err != nil || op != "add" && op != "replace" && op != "remove" {
		return &Error{400, InvalidSyntax, "The op must be add, replace or remove."}
	}
	value, given := members["value"]
	if members["path"] == nil {
		if op == "remove" {
			return &Error{400, NoTarget, "The op remove needs a path."}
		}
		// Names of sub-attributes, as in "name.givenName", are those of attributes that are not stored.
		attributes, err := object(value)
		if err != nil {
			return &Error{400, InvalidValue, "Without a path, the value must be an object of attributes."}
		}
		return in.mergeError(attributes)
	}
	path, err := jose.String(members["path"])
	if err != nil || !validPath(path) {
		return &Error{400, InvalidPath, "The path is not that of an attribute."}
	}
	name := coreName(path)
	if op == "remove" {
		if name == "username" || name == "active" {
			return &Error{400, Mutability, "The attribute " + filterable[name] + " cannot be removed: replace it."}
		}
		return nil
	}
	if !given {
		return &Error{400, InvalidValue, "The value is missing."}
	}
	return in.mergeError(map[string][]byte{name: value})
}

func (in *Input) mergeError(members map[string][]byte) *Error {
	var bad *Error
	errors.As(in.merge(members), &bad)
	return bad
}

// merge takes attributes, by their names in lower case. One that is null is unassigned, as if it were absent (RFC 7643 §2.5).
func (in *Input) merge(members map[string][]byte) error {
	for name, to := range map[string]**string{"username": &in.UserName, "externalid": &in.ExternalID} {
		raw := members[name]
		if raw == nil || string(raw) == "null" {
			continue
		}
		text, err := jose.String(raw)
		if err != nil || len(text) > 1024 {
			return &Error{400, InvalidValue, "The attribute " + filterable[name] + " must be a text of at most 1024 bytes."}
		}
		*to = &text
	}
	if raw := members["active"]; raw != nil && string(raw) != "null" {
		active, ok := boolean(raw)
		if !ok {
			return &Error{400, InvalidValue, "The attribute active must be true or false."}
		}
		in.Active = &active
	}
	return nil
}

// object reads the members of a JSON object, by their names in lower case. Names that differ in case alone are the same attribute, and one
// that is repeated is refused: two readers must not differ.
func object(text []byte) (map[string][]byte, error) {
	members := make(map[string][]byte)
	twice := errors.New("repeated")
	err := jose.Object(text, func(name string, value []byte) error {
		name = coreName(name)
		if _, there := members[name]; there {
			return twice
		}
		members[name] = value
		return nil
	})
	if err != nil {
		return nil, &Error{400, InvalidSyntax, "The body is not one JSON object, in UTF-8 and without repeated members."}
	}
	return members, nil
}

// demand checks that a body says that it follows a schema.
func demand(raw []byte, schema string) error {
	list, err := jose.Strings(raw)
	for _, s := range list {
		if err == nil && strings.EqualFold(s, schema) {
			return nil
		}
	}
	return &Error{400, InvalidSyntax, "The member schemas must be a list with " + schema + "."}
}
