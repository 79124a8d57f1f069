package mls_test

import (
	"testing"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/mls"
	"github.com/imidentity/issuer/credential/sdjwt"
)

// BenchmarkValidate validates a credential with its handle, whose status list is there; BenchmarkVerify is the part of package sdjwt.
func BenchmarkValidate(b *testing.B) {
	a := newAuthority(b)
	c, leaf := bind(b, ed25519Key("alice"), 1, room, 0, "handle")
	o := a.options()
	b.Run("Validate", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := mls.Validate(b.Context(), c, leaf, o); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Verify", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, err := sdjwt.Verify(b.Context(), c.JWT, sdjwt.Options{Options: o.Options, Binding: &sdjwt.Binding{
				Audience: room, Nonce: mls.Nonce(leaf.SignatureKey), BindingAge: credential.BindingAge{AnyAge: true},
			}})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Parse", func(b *testing.B) {
		b.ReportAllocs()
		data, err := c.Marshal()
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := mls.Parse(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
