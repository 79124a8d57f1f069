package signin_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/imidentity/issuer/signin"
)

// The callback reads the device limit only if its answer depends on it: where the user must be asked for consent anyway, the page
// that asks reads it.
func TestDeviceLimitIsReadOnce(t *testing.T) {
	key := url.Values{"dpop_jkt": {strings.Repeat("B", 42) + "A"}}
	for name, test := range map[string]struct {
		client         string
		change         url.Values
		callback, page int
	}{
		"consent needed":              {"guest", nil, 0, 1},
		"consent needed, key named":   {"guest", key, 1, 1},
		"no consent needed":           {"own", nil, 1, 0},
		"asked for by prompt=consent": {"own", url.Values{"prompt": {"consent"}}, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := open(t, nil)
			w.known(t, "alice")
			u := w.user("alice")
			token, in := u.arrive(t, test.client, test.change)
			var to signin.Redirect
			if n := w.count("DevicesReach", func() { to = good[signin.Redirect](t, u, token, in) }); n != test.callback {
				t.Errorf("the callback read the limit %d times, want %d", n, test.callback)
			}
			if test.page == 0 {
				wantCode(t, to)
				return
			}
			n := w.count("DevicesReach", func() { good[signin.Ask](t, u, consentIn(t, to), signin.ShowConsent{}) })
			if n != test.page {
				t.Errorf("the page read the limit %d times, want %d", n, test.page)
			}
		})
	}
}
