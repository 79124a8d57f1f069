package nested_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/nested"
)

// A statement that is too large for any verifier is refused with an error that callers can tell, and costs no signature where
// the claims alone are too much. One of exactly the limit is signed.
func TestReviewA1SignIsBounded(t *testing.T) {
	signatures := 0
	sign := func(typ string, payload []byte) (string, error) {
		signatures++
		return signers[school].sign(typ, payload)
	}
	role := func(n int) nested.Statement {
		return nested.Statement{
			Type: nested.TypeMember, Issuer: school, Subject: team, Audience: []string{home}, JTI: "m", IssuedAt: now, Expires: at(1), Party: alice,
			Role: strings.Repeat("x", n),
		}
	}
	largest, refusedAfterSigning := 0, 0
	for n := 5000; n < 6500; n++ {
		before := signatures
		token, err := role(n).Sign(sign)
		switch {
		case err == nil && len(token) <= nested.MaxToken:
			largest = max(largest, len(token))
		case err == nil || !errors.Is(err, nested.CodeTooLarge) || token != "":
			t.Fatalf("Sign = %d bytes, %v, want %v", len(token), err, nested.CodeTooLarge)
		case signatures > before:
			refusedAfterSigning++
		}
	}
	if largest < nested.MaxToken-1 || refusedAfterSigning == 0 {
		t.Errorf("the largest statement has %d bytes, and %d were refused when they were signed", largest, refusedAfterSigning)
	}
	before := signatures
	if _, err := role(48 << 10).Sign(sign); !errors.Is(err, nested.CodeTooLarge) || signatures != before {
		t.Errorf("Sign = %v after %d signatures, want %v after none", err, signatures-before, nested.CodeTooLarge)
	}
}

func TestReviewA1AudienceIsBounded(t *testing.T) {
	names := func(n int) (list []string) {
		for i := range n {
			list = append(list, fmt.Sprintf("https://%d.example", i))
		}
		return list
	}
	long := strings.Repeat("x", nested.MaxAudienceName)
	for name, v := range map[string]struct {
		audience []string
		ok       bool
	}{
		"as many as can be": {names(nested.MaxAudience), true},
		"one more":          {names(nested.MaxAudience + 1), false},
		"a long name":       {[]string{home, long}, true},
		"a longer one":      {[]string{home, long + "x"}, false},
		"an empty one":      {[]string{home, ""}, false},
	} {
		s := nested.Statement{
			Type: nested.TypeMember, Issuer: school, Subject: team, Audience: v.audience, JTI: "m", IssuedAt: now, Expires: at(1), Party: alice,
		}
		_, err := s.Sign(signers[school].sign)
		var fault *claims.ClaimError
		if v.ok != (err == nil) || !v.ok && (!errors.As(err, &fault) || fault.Claim != "aud") {
			t.Errorf("%s: Sign = %v for %d names", name, err, len(v.audience))
		}
	}
}

// A jti is kept with a revocation, so it is short; and an actor is shown to operators, so a client id has no control characters.
func TestReviewC4ActorAndJTI(t *testing.T) {
	base := nested.Statement{
		Type: nested.TypeActor, Issuer: home, Subject: alice, Audience: []string{home}, JTI: strings.Repeat("j",
			255), IssuedAt: now, Expires: at(1),
		Party: "a client", PartyIssuer: bridge, Scope: "im:handle",
	}
	if _, err := base.Sign(signers[home].sign); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(s *nested.Statement){
		"a long jti":                   func(s *nested.Statement) { s.JTI += "j" },
		"a client with an escape":      func(s *nested.Statement) { s.Party = "a\x1b[2J" },
		"a client of two lines":        func(s *nested.Statement) { s.Party = "a\nb" },
		"a client of other letters":    func(s *nested.Statement) { s.Party = "\u202ea" },
		"an issuer with a space":       func(s *nested.Statement) { s.PartyIssuer += " x" },
		"an issuer with control codes": func(s *nested.Statement) { s.PartyIssuer += "\t" },
		"an issuer with other letters": func(s *nested.Statement) { s.PartyIssuer += "\u00e9" },
	} {
		s := base
		change(&s)
		if _, err := s.Sign(signers[home].sign); err == nil {
			t.Errorf("Sign = nil with %s, want an error", name)
		}
	}
}
