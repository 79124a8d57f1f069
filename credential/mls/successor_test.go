package mls_test

import (
	"errors"
	"testing"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/mls"
	"github.com/imidentity/issuer/credential/sdjwt"
	"github.com/imidentity/issuer/statuslist"
)

// history has one renaming and one replacement of a key.
type history struct{ user, oldHandle, newHandle, device, oldKey, newKey string }

func (h history) Renamed(user, old, new claims.ID) bool {
	return user.String() == h.user && old.String() == h.oldHandle && new.String() == h.newHandle
}

func (h history) Rekeyed(device claims.ID, old, new string) bool {
	return device.String() == h.device && old == h.oldKey && new == h.newKey
}

// A member replaces its credential: the same device of the same user, whose handle and key changed at most as recorded.
func TestSuccessor(t *testing.T) {
	a := newAuthority(t)
	const (
		renamed = "im:%40alice.b@example.com"
		tablet  = "im:u/9@example.com"
	)
	phone, other := ed25519Key("alice"), ed25519Key("alice, new")
	type vcOf struct {
		key             string
		device, user    string
		handle          string
		index           uint64
		hidden, expired bool
	}
	member := func(v vcOf) mls.Member {
		t.Helper()
		key := ed25519Key(v.key)
		until := expires
		if v.expired {
			until = now
		}
		text, err := (&sdjwt.VC{
			Issuer: issuer, ID: "c", Device: v.device, User: v.user, Handle: v.handle, Key: key.Public(), IssuedAt: issued, Expires: until,
			Status: &statuslist.Reference{Index: v.index, URI: list},
		}).Sign(signer{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var disclose []string
		if !v.hidden {
			disclose = []string{"handle"}
		}
		c, err := mls.Bind(text, key, 1, room, bound, disclose...)
		if err != nil {
			t.Fatal(err)
		}
		m := mls.Member{}
		m.Credential, m.Err = mls.Validate(t.Context(), c, mls.Leaf{CipherSuite: 1, SignatureKey: signatureKey(t, 1, key), Room: room}, a.options())
		return m
	}
	old := vcOf{key: "alice", device: device, user: user, handle: handle}
	change := func(v vcOf, f func(*vcOf)) vcOf {
		f(&v)
		return v
	}
	recorded := history{user, handle, renamed, device, thumbprint(t, phone.Public()), thumbprint(t, other.Public())}
	for name, c := range map[string]struct {
		old, next vcOf
		history   claims.History
		want      error
	}{
		"the same":           {old, old, nil, nil},
		"old expired":        {change(old, func(v *vcOf) { v.expired = true }), old, nil, nil},
		"old ended":          {change(old, func(v *vcOf) { v.index = 1 }), old, recorded, credential.CodeEnded},
		"old refused":        {change(old, func(v *vcOf) { v.index = 2 }), old, recorded, credential.CodeStatus},
		"next expired":       {old, change(old, func(v *vcOf) { v.expired = true }), recorded, credential.CodeExpired},
		"next ended":         {old, change(old, func(v *vcOf) { v.index = 1 }), recorded, credential.CodeEnded},
		"both expired":       {change(old, func(v *vcOf) { v.expired = true }), change(old, func(v *vcOf) { v.expired = true }), nil, credential.CodeExpired},
		"old handle ended":   {change(old, func(v *vcOf) { v.index = 3 }), old, nil, nil},
		"next handle ended":  {old, change(old, func(v *vcOf) { v.index = 3 }), nil, nil},
		"renamed":            {change(old, func(v *vcOf) { v.index = 3 }), change(old, func(v *vcOf) { v.handle = renamed }), recorded, nil},
		"renamed, no record": {change(old, func(v *vcOf) { v.index = 3 }), change(old, func(v *vcOf) { v.handle = renamed }), nil, mls.ErrOtherClient},
		"renamed backwards":  {change(old, func(v *vcOf) { v.handle = renamed }), old, recorded, mls.ErrOtherClient},
		"handle hidden now":  {old, change(old, func(v *vcOf) { v.hidden = true }), nil, nil},
		"handle shown now":   {change(old, func(v *vcOf) { v.hidden = true }), old, nil, nil},
		"no handle any more": {old, change(old, func(v *vcOf) { v.handle, v.hidden = "", true }), nil, nil},
		"new key":            {old, change(old, func(v *vcOf) { v.key = "alice, new" }), recorded, nil},
		"new key, no record": {old, change(old, func(v *vcOf) { v.key = "alice, new" }), nil, mls.ErrOtherClient},
		"unknown key":        {old, change(old, func(v *vcOf) { v.key = "mallory" }), recorded, mls.ErrOtherClient},
		"new key and handle": {old, change(old, func(v *vcOf) { v.key, v.handle = "alice, new", renamed }), recorded, nil},
		"expired, new key":   {change(old, func(v *vcOf) { v.expired = true }), change(old, func(v *vcOf) { v.key = "alice, new" }), recorded, nil},
		"other device":       {old, change(old, func(v *vcOf) { v.device = tablet }), recorded, mls.ErrOtherClient},
		"other user": {old, change(old, func(v *vcOf) { v.device, v.user = "im:v/72b@example.com", "im:v@example.com;id-type=user" }), recorded,
			mls.ErrOtherClient},
	} {
		if err := mls.Successor(member(c.old), member(c.next), c.history); !errors.Is(err, c.want) {
			t.Errorf("%s: Successor = %v, want %v", name, err, c.want)
		}
	}
}

// A certificate of the device alone has neither user nor handle, and is replaced by another one of the same device.
func TestSuccessorWithoutUser(t *testing.T) {
	member := func(uri, userURI, key string) mls.Member {
		t.Helper()
		id, err := claims.ParseIdentity(claims.Parser{}, userURI, "", uri)
		if err != nil {
			t.Fatal(err)
		}
		return mls.Member{Credential: credential.Credential{Identity: id, JKT: thumbprint(t, ed25519Key(key).Public())}}
	}
	old := member(device, "", "alice")
	rekeyed := history{device: device, oldKey: old.JKT, newKey: thumbprint(t, ed25519Key("alice, new").Public())}
	for name, c := range map[string]struct {
		next    mls.Member
		history claims.History
		want    error
	}{
		"the same":           {old, nil, nil},
		"with the user":      {member(device, user, "alice"), nil, nil},
		"new key":            {member(device, "", "alice, new"), rekeyed, nil},
		"new key, no record": {member(device, "", "alice, new"), nil, mls.ErrOtherClient},
		"other device":       {member("im:u/9@example.com", "", "alice"), rekeyed, mls.ErrOtherClient},
		"other user":         {member("im:v/72b@example.com", "", "alice"), rekeyed, mls.ErrOtherClient},
		"other domain":       {member("im:u/72b@example.org", "", "alice"), rekeyed, mls.ErrOtherClient},
		"user alone":         {member("", user, "alice"), rekeyed, mls.ErrOtherClient},
	} {
		if err := mls.Successor(old, c.next, c.history); !errors.Is(err, c.want) {
			t.Errorf("%s: Successor = %v, want %v", name, err, c.want)
		}
		if err := mls.Successor(c.next, old, nil); c.want != nil && !errors.Is(err, mls.ErrOtherClient) {
			t.Errorf("%s, the other way: Successor = %v", name, err)
		}
	}
}

// A status that cannot be known, of either credential, is no refusal.
func TestSuccessorUnknown(t *testing.T) {
	a := newAuthority(t)
	a.server.Close()
	c, leaf := bind(t, ed25519Key("alice"), 1, room, 0)
	good, unknown := mls.Member{}, mls.Member{}
	unknown.Credential, unknown.Err = mls.Validate(t.Context(), c, leaf, a.options())
	o := a.options()
	o.Unchecked = true
	good.Credential, good.Err = mls.Validate(t.Context(), c, leaf, o)
	if good.Err != nil {
		t.Fatal(good.Err)
	}
	for name, err := range map[string]error{
		"old": mls.Successor(unknown, good, nil), "new": mls.Successor(good, unknown, nil),
	} {
		if refused := (*credential.Error)(nil); !errors.Is(err, statuslist.ErrUnknown) || errors.As(err, &refused) {
			t.Errorf("%s: Successor = %v, want an error that is no refusal", name, err)
		}
	}
	if err := mls.Successor(mls.Member{}, mls.Member{}, nil); !errors.Is(err, mls.ErrOtherClient) {
		t.Errorf("Successor of nothing = %v", err)
	}
}
