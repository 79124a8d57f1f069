package signin_test

import (
	"testing"

	"github.com/imidentity/issuer/signin"
)

// BenchmarkLogin is a whole login with consent, without HTTP. It includes the requests to the OpenID provider, and the
// provider itself.
func BenchmarkLogin(b *testing.B) {
	w := open(b, nil)
	w.known(b, "alice")
	for b.Loop() {
		u := w.user("alice")
		page := u.asked(b, "guest", nil)
		good[signin.Ask](b, u, page, signin.ShowConsent{})
		wantCode(b, good[signin.Redirect](b, u, page, signin.Decide{Allow: true}))
	}
}
