package keys_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/imidentity/issuer/keys"
)

// TestLifeOfKeys runs random sequences of operator commands, restarts and waits, and checks what verifiers rely on:
//
//   - one key signs at any time;
//   - a key is published for as long as what it signed lives, unless it is revoked, and then not any more;
//   - a key is published for long enough before it signs, unless an operator made it sign at once.
func TestLifeOfKeys(outer *testing.T) {
	rapid.Check(outer, func(t *rapid.T) {
		c, store := newClock(), openStore(outer)
		defer store.Close()
		algorithm := func() string { return rapid.SampledFrom([]string{"ES256", "EdDSA"}).Draw(t, "algorithm") }
		alg := algorithm()
		r := openWith(outer, store, c, scheduled(alg))

		expires := make(map[string]time.Time)                              // by kid: when the last that it signed does
		revoked, seen := make(map[string]bool), make(map[string]time.Time) // by kid; when it was first published
		atOnce, signer := true, ""
		check := func() {
			for _, k := range r.List() {
				if _, known := seen[k.KID]; !known {
					seen[k.KID] = c.now()
				}
			}
			kid, _, _ := r.Signer()
			if revoked[kid] || kid == "" {
				t.Fatalf("%q signs, which is revoked", kid)
			}
			if kid != signer && !atOnce && c.now().Sub(seen[kid]) < ahead {
				t.Fatalf("%s signs, which was published %v ago", kid, c.now().Sub(seen[kid]))
			}
			signer, atOnce = kid, false
			token := sign(outer, r)
			set, _ := r.JWKS()
			if !checks(outer, set, token) {
				t.Fatalf("JWKS = %s, by which a new token is not good", set)
			}
			expires[kid] = c.now().Add(life)
			for kid, until := range expires {
				switch there := published(outer, r, kid); {
				case revoked[kid] && there:
					t.Fatalf("%s is published, which is revoked", kid)
				case !revoked[kid] && c.now().Before(until) && !there:
					t.Fatalf("%s is not published, and signed what lives for another %v", kid, until.Sub(c.now()))
				}
			}
		}
		check()
		t.Repeat(map[string]func(*rapid.T){
			"": func(*rapid.T) { check() },
			"wait": func(t *rapid.T) {
				c.advance(rapid.SampledFrom([]time.Duration{time.Second, life / 2, life, ahead / 2, ahead, every / 2, every}).Draw(t, "wait"))
			},
			"follow": func(t *rapid.T) {
				before := r
				r = openWith(outer, store, c, scheduled(alg)) // what Run does between two reads
				if a, b := states(before), states(r); len(a) > len(b) {
					t.Fatalf("states = %s, before it was opened again %s", b, a)
				}
			},
			"other settings": func(t *rapid.T) {
				if next := algorithm(); next != alg {
					alg, atOnce = next, true
				}
				r = openWith(outer, store, c, scheduled(alg))
			},
			"rotate": func(t *rapid.T) {
				if _, _, err := r.Rotate(ctx, false); err != nil {
					t.Fatal(err)
				}
			},
			"rotate at once": func(t *rapid.T) {
				if _, _, err := r.Rotate(ctx, true); err != nil {
					t.Fatal(err)
				}
				atOnce = true
			},
			"revoke": func(t *rapid.T) {
				k := rapid.SampledFrom(r.List()).Draw(t, "key")
				if _, _, err := r.Revoke(ctx, k.KID, "test"); err != nil {
					t.Fatal(err)
				}
				revoked[k.KID] = true
				atOnce = atOnce || k.State == keys.Signing
			},
		})
	})
}
