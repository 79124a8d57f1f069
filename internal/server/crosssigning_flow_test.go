package server_test

import (
	"net/http"
	"testing"

	"github.com/imidentity/issuer/places"
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

// publishing is a flow of TestStoreFails: a new person stores a profile and another one, which others read, and deletes it.
func publishing(t *testing.T, s *site) []step {
	s.namesake(t, "person "+t.Name(), handleOf(t, "person"))
	var u *crossSigner
	s.faults.quietly(func() {
		u = s.newCrossSigner(t, "alice")
		u.puts(object{"keys": u.keys(1)})
	})
	var steps []step
	store := func(name, text string) {
		steps = append(steps, step{
			name: name,
			ask:  func() answer { return u.places(http.MethodPut, object{"profile": text}) },
			good: func(a answer) {
				if a.status != http.StatusOK || a.text("profile") != text {
					t.Errorf("answer = %v, want what was sent", a)
				}
			},
		})
	}
	last := u.profile(u.master)
	store("store a profile", u.profile(u.master, func(p *places.Profile) { p.Places = nil }))
	store("store another", last)
	return append(steps, step{
		name: "read it as anyone",
		ask:  func() answer { return s.get(t, aspe+u.fingerprint()) },
		good: func(a answer) {
			if a.status != http.StatusOK || a.body != last {
				t.Errorf("answer = %v, want the profile", a)
			}
		},
	}, step{
		name: "delete it",
		ask:  func() answer { return u.places(http.MethodDelete, nil) },
		good: func(a answer) {
			if a.status != http.StatusNotFound { // after a lost answer
				wantStatus(t, a, http.StatusNoContent)
			}
		},
	}, step{
		name: "store it again",
		ask:  func() answer { return u.places(http.MethodPut, object{"profile": last}) },
		good: func(a answer) { wantStatus(t, a, http.StatusOK) },
	}, step{
		name: "another master key",
		ask: func() answer {
			u.master = newOwnKey(t)
			return u.put(object{"keys": u.keys(1)})
		},
		good: func(a answer) {
			wantStatus(t, a, http.StatusOK)
			s.faults.quietly(func() { wantStatus(t, u.places(http.MethodGet, nil), http.StatusNotFound) })
		},
	})
}
