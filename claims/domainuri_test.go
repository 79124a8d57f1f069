package claims_test

import (
	"testing"

	"github.com/imidentity/issuer/claims"
)

func TestDomainURIs(t *testing.T) {
	for _, domain := range []string{"example.com", "xn--bcher-kva.example"} {
		for _, system := range []claims.System{claims.SystemGeneric, claims.SystemXMPP, claims.SystemWire} {
			n, err := claims.NewNamespace(system, domain, true)
			if err != nil {
				t.Fatal(err)
			}
			id := n.DomainID()
			want := []string{id.IM(), id.MIMI()}
			if got := claims.DomainURIs(domain); len(got) != 2 || got[0] != want[0] || got[1] != want[1] || claims.DomainURI(domain) != want[0] {
				t.Errorf("DomainURIs(%s) = %q, want %q, the URIs of %+v", domain, got, want, id)
			}
			for _, uri := range want {
				parsed, err := claims.Parse(uri)
				if err != nil || parsed.Type() != claims.TypeDomain || parsed.Domain() != domain {
					t.Errorf("Parse(%s) = %+v, %v, want the domain %s", uri, parsed, err, domain)
				}
				if got, ok := claims.DomainOf(uri); got != domain || !ok {
					t.Errorf("DomainOf(%s) = %q, %v, want %s", uri, got, ok, domain)
				}
			}
			if parsed, err := claims.Parse(want[0]); err != nil || parsed != id {
				t.Errorf("DomainID = %+v, and Parse(%s) is %+v", id, want[0], parsed)
			}
		}
	}
	for _, other := range []string{"", "https://example.com", "example.com", "mimi:example.com", "IM:example.com", "xmpp:a@example.com"} {
		if got, ok := claims.DomainOf(other); ok {
			t.Errorf("DomainOf(%q) = %q, true, want false", other, got)
		}
	}
}
