// Package matrix reads the cross signing of Matrix, and returns the verdict that package xsign returns about the statements of this
// project. So a user of Matrix needs no second set of keys.
//
// Parse reads what a homeserver answers to POST /_matrix/client/v3/keys/query about one user: the master, self-signing and user-signing
// keys, and the devices (Matrix specification, client-server API, "Cross-signing"; appendices "Canonical JSON" and "Signing JSON"). The
// homeserver is not believed. Verify judges such an answer for a verifier, who keeps [xsign.Pins] of Matrix users, apart from the pins of
// package xsign: those name other master keys.
//
// The caller maps Matrix ids to claims URIs. A device of a verdict goes with its key: that is the Ed25519 key of the Matrix device.
//
// Matrix signs each device by itself. There is no list with a number or an end, so a homeserver can show a removed device for as long as
// it likes, and no reader notices. Nor is there a succession of master keys, or a distrust.
package matrix

import (
	"crypto/ed25519"
	"encoding/json"
	"slices"
	"strings"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/xsign"
)

// The limits.
const (
	MaxAnswer  = 1 << 20  // bytes of an answer
	MaxObject  = 16 << 10 // bytes of a key or a device in it
	MaxDevices = 1000     // devices of the user
	MaxID      = 255      // bytes of a user id or device id
)

// The kinds of objects, in errors.
const (
	kindAnswer      = "Matrix keys"
	kindMaster      = "Matrix master key"
	kindSelfSigning = "Matrix self-signing key"
	kindUserSigning = "Matrix user-signing key"
	kindDevice      = "Matrix device"
)

// An Identity is what an answer says about a user. The signatures of the self-signing and user-signing key by the master key that the
// answer itself names are verified; whether that is the user's is for [Verify].
type Identity struct {
	User        string // @alice:example.com
	Master      ed25519.PublicKey
	SelfSigning ed25519.PublicKey // nil if the answer has none: then no device counts
	UserSigning ed25519.PublicKey // nil if the answer has none: homeservers show it to the user alone
	Devices     map[string]Device // by device id

	master *object
}

// A Device is a device of a user.
type Device struct {
	ID  string
	Key ed25519.PublicKey // nil if Err is about the device itself
	// Err is nil if the device has signed itself and the user's self-signing key has signed it. Else it is an [*xsign.Error]: its code is
	// [xsign.CodeMissing] if there is no such signature.
	Err error
}

// Parse reads the answer about a user, and verifies the signatures. A device that is refused does not make the answer refused: see
// Device.Err. The error is an [*xsign.Error]; its code is [xsign.CodeMissing] if the answer has no master key of the user.
func Parse(answer []byte, user string) (*Identity, error) {
	if !isUser(user) {
		return nil, refuse(kindAnswer, "", xsign.CodeUser, "the user that was asked for is no Matrix user id")
	}
	if len(answer) > MaxAnswer {
		return nil, refuse(kindAnswer, "", xsign.CodeTooLarge, "more than %d bytes", MaxAnswer)
	}
	parts := map[string]json.RawMessage{}
	if err := members(answer, func(name string, value []byte) { parts[name] = value }); err != nil {
		return nil, refuse(kindAnswer, "", xsign.CodeMalformed, "%w", err)
	}
	of := map[string]json.RawMessage{} // the values of the user, by part
	for _, part := range []string{"master_keys", "self_signing_keys", "user_signing_keys", "device_keys"} {
		if parts[part] == nil {
			continue
		}
		if err := members(parts[part], func(name string, value []byte) {
			if name == user {
				of[part] = value
			}
		}); err != nil {
			return nil, refuse(kindAnswer, part, xsign.CodeMalformed, "%w", err)
		}
	}
	if of["master_keys"] == nil {
		return nil, refuse(kindMaster, "", xsign.CodeMissing, "the answer has none of the user")
	}
	i := &Identity{User: user, Devices: map[string]Device{}}
	var err error
	if i.master, i.Master, err = readUsage(kindMaster, "master", user, of["master_keys"]); err != nil {
		return nil, err
	}
	if i.SelfSigning, err = i.below(kindSelfSigning, "self_signing", of["self_signing_keys"]); err != nil {
		return nil, err
	}
	if i.UserSigning, err = i.below(kindUserSigning, "user_signing", of["user_signing_keys"]); err != nil {
		return nil, err
	}
	if i.SelfSigning != nil && i.SelfSigning.Equal(i.UserSigning) {
		return nil, refuse(kindUserSigning, "keys", xsign.CodeKey, "it is the self-signing key, too")
	}
	if of["device_keys"] == nil {
		return i, nil
	}
	tooMany := false
	err = members(of["device_keys"], func(id string, value []byte) {
		if tooMany = tooMany || len(i.Devices) == MaxDevices; !tooMany {
			i.Devices[id] = i.device(id, value)
		}
	})
	switch {
	case err != nil:
		return nil, refuse(kindAnswer, "device_keys", xsign.CodeMalformed, "%w", err)
	case tooMany:
		return nil, refuse(kindAnswer, "device_keys", xsign.CodeTooMany, "more than %d devices", MaxDevices)
	}
	return i, nil
}

// members calls fn for each member of a JSON object.
func members(raw []byte, fn func(name string, value []byte)) error {
	return jose.Object(raw, func(name string, value []byte) error {
		fn(name, value)
		return nil
	})
}

// readUsage reads a cross-signing key. It has one usage and one key, which is named by itself.
func readUsage(kind, usage, user string, raw []byte) (*object, ed25519.PublicKey, error) {
	o, err := readObject(kind, user, raw)
	if err != nil {
		return nil, nil, err
	}
	if list, _ := o.members["usage"].([]any); len(list) != 1 || list[0] != usage {
		return nil, nil, refuse(kind, "usage", xsign.CodeClaim, "not %s alone", usage)
	}
	keys, _ := o.members["keys"].(map[string]any)
	if len(keys) != 1 {
		return nil, nil, refuse(kind, "keys", xsign.CodeKey, "not one key")
	}
	for id := range keys {
		key, err := o.key(id)
		if err != nil {
			return nil, nil, err
		}
		if id != algorithm+encode(key) {
			return nil, nil, refuse(kind, "keys", xsign.CodeKey, "the name is not that of the key")
		}
		return o, key, nil
	}
	panic("unreachable")
}

// below reads a key that the master key signs; nil if the answer has none.
func (i *Identity) below(kind, usage string, raw []byte) (ed25519.PublicKey, error) {
	if raw == nil {
		return nil, nil
	}
	o, key, err := readUsage(kind, usage, i.User, raw)
	if err != nil {
		return nil, err
	}
	if key.Equal(i.Master) {
		return nil, refuse(kind, "keys", xsign.CodeKey, "it is the master key, too")
	}
	return key, o.verify(i.User, encode(i.Master), i.Master)
}

// device reads a device and verifies its signatures.
func (i *Identity) device(id string, raw []byte) Device {
	d := Device{ID: id}
	var o *object
	if o, d.Key, d.Err = i.readDevice(id, raw); d.Err != nil {
		return d
	}
	if i.SelfSigning == nil {
		d.Err = refuse(kindSelfSigning, "", xsign.CodeMissing, "the answer has none of the user")
	} else {
		d.Err = o.verify(i.User, encode(i.SelfSigning), i.SelfSigning)
	}
	return d
}

func (i *Identity) readDevice(id string, raw []byte) (*object, ed25519.PublicKey, error) {
	o, err := readObject(kindDevice, i.User, raw)
	if err != nil {
		return nil, nil, err
	}
	own := []ed25519.PublicKey{i.Master, i.SelfSigning, i.UserSigning}
	switch {
	case id == "" || len(id) > MaxID || o.members["device_id"] != id:
		return nil, nil, refuse(kindDevice, "device_id", xsign.CodeClaim, "not the id that the answer has it under")
	// By MSC1756, both kinds of keys are named in the same way.
	case slices.ContainsFunc(own, func(k ed25519.PublicKey) bool { return k != nil && encode(k) == id }):
		return nil, nil, refuse(kindDevice, "device_id", xsign.CodeKey, "the name of a key that signs")
	}
	keys, _ := o.members["keys"].(map[string]any)
	for name := range keys {
		if kind, of, _ := strings.Cut(name, ":"); kind == "" || of != id {
			return nil, nil, refuse(kindDevice, "keys", xsign.CodeKey, "a key of another device")
		}
	}
	key, err := o.key(algorithm + id)
	if err != nil {
		return nil, nil, err
	}
	if slices.ContainsFunc(own, func(k ed25519.PublicKey) bool { return key.Equal(k) }) {
		return nil, nil, refuse(kindDevice, "keys", xsign.CodeKey, "a key that signs for the user")
	}
	if err := o.verify(i.User, id, key); err != nil {
		return nil, nil, err
	}
	return o, key, nil
}

// SignedBy reports whether another user's user-signing key has signed the master key: that user has compared it. The verifier takes its
// own user-signing key from its own client, or from an answer about itself whose master key it knows; never from an answer alone.
func (i *Identity) SignedBy(user string, userSigning ed25519.PublicKey) bool {
	if user == i.User || len(userSigning) != ed25519.PublicKeySize {
		return false
	}
	return i.master.verify(user, encode(userSigning), userSigning) == nil
}

// isUser reports whether a text can be the id of a user: @localpart:server.
func isUser(id string) bool {
	local, server, ok := strings.Cut(id, ":")
	return ok && len(id) <= MaxID && strings.HasPrefix(local, "@") && server != ""
}
