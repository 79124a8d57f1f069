package interop_test

import (
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/imidentity/issuer/xsign/matrix"
)

// The cryptography of the Matrix clients makes keys and devices; it and package xsign/matrix agree which devices their owner has signed,
// and which user the verifier has.
func TestMatrixOfOthers(t *testing.T) {
	cmd := node(t, t.Context(), "matrix.mjs", nil)
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("matrix.mjs: %v", err)
	}
	var got struct {
		User, Verifier, UserSigning string
		Answers                     []struct {
			Name, Answer string
			Devices      map[string]*bool
			Verified     bool
		}
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	userSigning, err := base64.RawStdEncoding.DecodeString(got.UserSigning)
	if err != nil {
		t.Fatal(err)
	}
	yes, no, verified := 0, 0, 0
	for _, a := range got.Answers {
		identity, err := matrix.Parse([]byte(a.Answer), got.User)
		if err != nil {
			t.Errorf("%s: %v", a.Name, err)
			continue
		}
		for id, signed := range a.Devices {
			want := signed != nil && *signed
			if want {
				yes++
			} else {
				no++
			}
			if err := identity.Devices[id].Err; (err == nil) != want {
				t.Errorf("%s: device %s: %v, want signed %t", a.Name, id, err, want)
			}
		}
		if a.Verified {
			verified++
		}
		if ours := identity.SignedBy(got.Verifier, userSigning); ours != a.Verified {
			t.Errorf("%s: the user is signed: %t, want %t", a.Name, ours, a.Verified)
		}
	}
	if yes != 3 || no != 6 || verified != 1 {
		t.Errorf("%d signed devices, %d others and %d signed users, want 3, 6 and 1", yes, no, verified)
	}
}
