package server_test

import (
	"net/http"
	"testing"
)

// crossSigning is a flow of TestStoreFails: a new person stores keys, a device list and a vouch, and others ask for them.
func crossSigning(t *testing.T, s *site) []step {
	s.namesake(t, "person "+t.Name(), handleOf(t, "person"))
	var u, other *crossSigner
	s.faults.quietly(func() {
		u = s.newCrossSigner(t, "alice")
		s.namesake(t, "other "+t.Name(), handleOf(t, "other"))
		other = s.newCrossSigner(t, "alice")
	})
	statements := object{"keys": u.keys(1), "devices": u.devices(1)}
	vouch := u.vouch(other, true)
	return []step{
		{
			name: "store keys and devices",
			ask:  func() answer { return u.put(statements) },
			good: func(a answer) {
				if a.status != http.StatusOK || a.text("keys") != statements["keys"] || a.text("devices") != statements["devices"] {
					t.Errorf("answer = %v, want what was sent", a)
				}
			},
		},
		{
			name: "vouch",
			ask:  func() answer { return u.opines(other.thumbprint(), vouch) },
			good: func(a answer) { wantStatus(t, a, http.StatusNoContent) },
		},
		{
			name: "question",
			ask:  func() answer { return s.query(t, peer, object{"users": []string{u.id.String(), other.id.String()}}) },
			good: func(a answer) {
				if users, _ := a.json["users"].(map[string]any); a.status != http.StatusOK || len(users) != 2 {
					t.Errorf("question = %v, want both users", a)
				}
			},
		},
		{
			name: "delete the vouch",
			ask: func() answer {
				return s.held(t, u.device, u.own, http.MethodDelete, "/me/vouches/"+other.thumbprint(), nil)
			},
			good: func(a answer) {
				if a.status != http.StatusNotFound { // after a lost answer
					wantStatus(t, a, http.StatusNoContent)
				}
			},
		},
	}
}
