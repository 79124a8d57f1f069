package claims_test

import (
	"errors"
	"testing"

	"github.com/imidentity/issuer/claims"
)

func TestCasemap(t *testing.T) {
	for _, c := range []struct {
		casemap    claims.Casemap
		name, want string // native; empty: refused
	}{
		{claims.CasemapRFC1459, `A[\]~`, `@a{|}^`},
		{claims.CasemapASCII, `A[\]`, `@a[\]`},
		{claims.CasemapASCII, "a~", ""},
		{claims.CasemapASCII, "é", ""},
		{claims.CasemapPRECIS, "ÉA[", "@éa["},
		{claims.CasemapPRECIS, "\u202Ea", ""},
		{claims.CasemapRFC1459, "#A[~É", "#a{^É"},
		{claims.CasemapASCII, "#A[~É", "#a[~É"},
		{claims.CasemapPRECIS, "#A[~É", "#a[~É"},
		{claims.CasemapRFC1459, "~A!~Bob", "!~bob"},
		{claims.Casemap(200), "A[", "@a{"},
	} {
		p := claims.Parser{Reading: claims.Lenient, Network: network, Casemap: c.casemap}
		id, err := p.ParseNative(claims.SystemIRC, c.name)
		if c.want == "" && err == nil || c.want != "" && (err != nil || id.Native() != c.want) {
			t.Errorf("ParseNative(%q) under %d = %q, %v, want %q", c.name, c.casemap, id.Native(), err, c.want)
		}
		if err != nil {
			continue
		}
		p.Reading = claims.Strict
		if again, err := p.Parse(id.IM()); err != nil || again != id {
			t.Errorf("Parse(%q) under %d = %v, %v", id.IM(), c.casemap, again, err)
		}
	}
}

// TestNetwork wants a network for native names, which is where a domain is read from.
func TestNetwork(t *testing.T) {
	if id, err := (claims.Parser{}).ParseNative(claims.SystemIRC, "@juliet"); !errors.Is(err, claims.CodeMissingDomain) {
		t.Errorf("ParseNative = %v, %v, want %v", id, err, claims.CodeMissingDomain)
	}
	id, err := claims.Parser{Network: network}.ParseNative(claims.SystemIRC, network)
	if err != nil || id.Type() != claims.TypeDomain || id.Domain() != network {
		t.Errorf("ParseNative = %v, %v, want the network", id, err)
	}
}
