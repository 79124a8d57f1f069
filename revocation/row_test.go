package revocation_test

import (
	"testing"
	"time"

	"github.com/imidentity/issuer/revocation"
)

// TestReviewB1RevocationOutlivesLongestToken: what was revoked under a short lifetime of access tokens stays revoked for as
// long as a token that was made under the longest one.
func TestReviewB1RevocationOutlivesLongestToken(t *testing.T) {
	at := time.Now()
	for _, life := range []time.Duration{time.Minute, time.Hour, 24 * time.Hour} {
		cause := revocation.Cause{Reason: "test", At: at, TokenLife: life}
		for _, row := range []struct {
			kind string
			ends time.Time
		}{
			{"session", revocation.RevokeGrant("sid", cause).ExpiresAt},
			{"device", revocation.RevokeDevice("d", "u", cause).ExpiresAt}, {"client", revocation.RevokeClient("c", cause).ExpiresAt},
			{"generation", revocation.RevokeBelow("d", "u", 2, cause).ExpiresAt},
		} {
			if row.ends.Before(at.Add(max(life, time.Hour))) {
				t.Errorf("%s, tokens of %v: the revocation ends after %v", row.kind, life, row.ends.Sub(at))
			}
		}
	}
}
