package interop_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/xsign"
)

// npm jose verifies the accepted statements of the vectors of package xsign, of all five types, and refuses those that are signed wrongly.
// We read those that it makes, and judge them as one bundle.
func TestXSignOfOthers(t *testing.T) {
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC) // that of the vectors
	cmd := node(t, t.Context(), "xsign.mjs", map[string]string{"NOW": fmt.Sprint(now.UnixMilli())})
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("xsign.mjs: %v", err)
	}
	var got struct {
		Verified       map[string]int
		Failed, Passed []string
		Refused        int
		Made           []struct {
			Type, Text string
			Key        json.RawMessage
		}
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	types := []string{jose.TypeXSignDevices, jose.TypeDistrust, jose.TypeXSignKeys, jose.TypeSuccession, jose.TypeVouch}
	if verified := slices.Sorted(maps.Keys(got.Verified)); !slices.Equal(verified, types) || len(got.Failed) > 0 {
		t.Errorf("jose verified %v, and not %v", got.Verified, got.Failed)
	}
	if got.Refused < 10 || len(got.Passed) > 0 {
		t.Errorf("jose refused %d, and not %v", got.Refused, got.Passed)
	}

	if len(got.Made) != 10 {
		t.Fatalf("jose made %d statements, want 10", len(got.Made))
	}
	user, err := claims.Parse("im:3h3aNq0mWk2o1c8vXfYJrg@example.com;id-type=user")
	if err != nil {
		t.Fatal(err)
	}
	for made := range slices.Chunk(got.Made, 5) {
		// The succession, the keys that have it, the list, a vouch and a distrust.
		bundle := xsign.Bundle{Keys: made[1].Text, Devices: made[2].Text}
		contents, err := bundle.Open(user)
		if err != nil {
			t.Fatal(err)
		}
		if contents.DevicesErr != nil || len(contents.Masters) != 2 || len(contents.Devices.Devices) != 1 {
			t.Errorf("the bundle that jose made has %d master keys, and devices %+v, %v", len(contents.Masters), contents.Devices, contents.DevicesErr)
		}
		if _, err := xsign.ReadOwn(user, contents.Keys.UserSigning, []string{made[3].Text, made[4].Text}); err != nil {
			t.Error(err)
		}
	}
}
