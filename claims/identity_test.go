package claims_test

import (
	"errors"
	"testing"

	"github.com/imidentity/issuer/claims"
)

// The rule for identities holds for every subset of the three identifiers. Sets have their own cases in TestValidate.
func TestIdentityCheck(t *testing.T) {
	const (
		user, handle, device = "im:BFuVxW5BfJc8R7Qw@example.com;id-type=user", "im:%40alice@example.com", "im:BFuVxW5BfJc8R7Qw/72b@example.com"
	)
	for name, c := range map[string]struct {
		user, handle, device string
		domain               string
		claim                string
		want                 error
	}{
		"all":                           {user, handle, device, "example.com", "", nil},
		"user":                          {user, "", "", "example.com", "", nil},
		"device":                        {"", "", device, "example.com", "", nil},
		"handle":                        {"", handle, "", "example.com", "", nil},
		"handle and device":             {"", handle, device, "example.com", "", nil},
		"nothing":                       {"", "", "", "example.com", "sub", claims.ErrMissing},
		"user, foreign domain":          {user, handle, device, "example.net", "sub", claims.ErrDomain},
		"device, foreign domain":        {"", handle, device, "example.net", "device", claims.ErrDomain},
		"handle, foreign domain":        {"", handle, "", "example.net", "handle", claims.ErrDomain},
		"handle and device, two domain": {"", "im:%40alice@example.net", device, "example.com", "handle", claims.ErrMismatch},
		"device of another":             {user, "", "im:other/72b@example.com", "example.com", "device", claims.ErrMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := claims.ParseIdentity(claims.Parser{}, c.user, c.handle, c.device)
			if err != nil {
				t.Fatal(err)
			}
			err = id.Check([]string{c.domain}, true)
			if !errors.Is(err, c.want) {
				t.Errorf("Check = %v, want %v", err, c.want)
			}
			if refused := (*claims.ClaimError)(nil); errors.As(err, &refused) && refused.Claim != c.claim {
				t.Errorf("Check refused %q, want %q", refused.Claim, c.claim)
			}
			if err := id.Check([]string{c.domain}, false); err == nil {
				t.Error("Check accepted a reserved domain outside of development")
			}
		})
	}
}

// A URI in the place of another one is refused.
func TestParseIdentity(t *testing.T) {
	const user, handle, device = "im:u@example.com;id-type=user", "im:%40alice@example.com", "im:u/72b@example.com"
	for claim, uris := range map[string][3]string{
		"sub": {handle, "", ""}, "handle": {user, device, ""}, "device": {user, handle, user},
	} {
		_, err := claims.ParseIdentity(claims.Parser{}, uris[0], uris[1], uris[2])
		if refused := (*claims.ClaimError)(nil); !errors.As(err, &refused) || refused.Claim != claim ||
			!errors.Is(err, claims.CodeTypeMismatch) {
			t.Errorf("ParseIdentity(%v) = %v, want %q refused", uris, err, claim)
		}
	}
}
