package introspect

import "context"

// CrossSigning is what users have stored at the issuer about their own keys and devices, which they signed with keys of their own (package
// xsign). It is safe for concurrent use.
type CrossSigning interface {
	// CrossSigned returns what the user of a token has stored about its device and its key: nil if that is nothing, or is not known now.
	CrossSigned(ctx context.Context, t Token, jkt string) *XSign
}

// An XSign is what a user has stored at the issuer about the device of a token. It is a hint that there is something to verify, and no
// evidence: ask for the statements and verify them.
type XSign struct {
	// Master is the thumbprint of the user's master key, and Seq the number of the device list, zero if there is none.
	Master string `json:"master"`
	Seq    int64  `json:"seq"`
	// Listed says that the list has the device with the key of the token.
	Listed bool `json:"listed"`
}

// crossSigned returns what the user has stored about the device of a token, if the caller is told.
func (i *Introspector) crossSigned(ctx context.Context, t *token, over *veil) *XSign {
	if i.cfg.CrossSigning == nil || !ofDevice(t) || t.HomeIss != "" {
		return nil
	}
	// A master key identifies a user to all callers.
	if over != nil && (over.pairwise || over.members&(withXSign|withDevice) != withXSign|withDevice) {
		return nil
	}
	return i.cfg.CrossSigning.CrossSigned(ctx, t.ids, t.JKT)
}

// xsign writes a member unless x is nil.
func (o *object) xsign(name string, x *XSign) {
	if x == nil {
		return
	}
	v := object{b: append(o.name(name), '{')}
	v.required("master", x.Master)
	if x.Seq == 0 {
		v.b = append(v.name("seq"), '0')
	}
	v.int("seq", x.Seq)
	v.bool("listed", x.Listed)
	o.b = append(v.b, '}')
}
