package faults_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
)

// introspect asks about a token of the session, or of one that is over.
func (u *user) introspect() {
	var choice []*access
	if u.session != nil {
		choice = slices.Clone(u.session.access)
	}
	if n := len(u.past); n > 0 {
		choice = append(choice, u.past[n-1].access...)
	}
	if n := len(u.ended); n > 0 {
		choice = append(choice, u.ended[n-1])
	}
	if len(choice) == 0 {
		return
	}
	t := choice[u.random.IntN(len(choice))]
	a := u.send(u.somewhere(), request{kind: "introspection", path: "/introspect", form: url.Values{"token": {t.token}}, basic: true})
	if a.lost() {
		return
	}
	var body struct{ Active *bool }
	if !a.ok() || json.Unmarshal(a.body, &body) != nil || body.Active == nil {
		u.ledger.broken("introspection: %v", &a)
		return
	}
	u.judge(t, *body.Active, &a)
}

// judge compares an answer about a token with what is known about it.
func (u *user) judge(t *access, active bool, a *answer) {
	switch {
	case active && t.isOver(a.began, a.node):
		u.ledger.broken("node %s says at %s that a token of %s, session %s, is active, whose end was acknowledged: %s", a.node,
			u.ledger.at(a.began), u.person, t.session.sid, t.describe(u.ledger))
	case !active && !t.mayBeOver(a.ended):
		u.ledger.broken("node %s says that a live token of %s, session %s, is not active", a.node, u.person, t.session.sid)
	}
	if active {
		u.ledger.add("answers that a token is active", 1)
	} else {
		u.ledger.add("answers that a token is not active", 1)
	}
}

// describe says which end of a token was acknowledged, and when.
func (t *access) describe(l *ledger) (text string) {
	for what, e := range map[string]*end{"token": &t.end, "session": &t.session.end, "device": &t.session.device.end} {
		if asked, known, by := e.read(); !known.IsZero() {
			text += " " + what + " asked " + l.at(asked) + ", known " + l.at(known) + " by " + by
		}
	}
	return text
}

// revoke ends the session, by its refresh token.
func (u *user) revoke(s *session) {
	s.end.ask()
	if !u.revoked(request{kind: "revocation of a session", path: "/revoke", form: url.Values{"token": {s.newest()}, "client_id": {"app"}}},
		&s.end) {
		return
	}
	u.mu.Lock()
	u.session, u.past = nil, append(u.past, s)
	u.mu.Unlock()
}

// revokeAccess ends one access token.
func (u *user) revokeAccess(s *session) {
	t := s.access[u.random.IntN(len(s.access))]
	t.end.ask()
	if u.revoked(request{kind: "revocation of a token", path: "/revoke", form: url.Values{"token": {t.token}, "client_id": {"app"}},
		device: s.device}, &t.end) {
		u.ended = append(u.ended, t)
	}
}

// revoked sends a revocation until it is acknowledged, and notes that.
func (u *user) revoked(r request, e *end) bool {
	a, lost := u.insist(r)
	if !a.ok() {
		u.ledger.broken("%s: %v", r.kind, &a)
		return false
	}
	if lost > 0 {
		a.node = "" // another node may have revoked it
	}
	e.acknowledge(a.node)
	u.ledger.add("revocations acknowledged", 1)
	return true
}

// removeDevice removes the device of the user, or that of the other client of the person.
func (u *user) removeDevice(s *session) {
	target := s.device
	if u.random.IntN(2) == 0 {
		u.other.mu.Lock()
		if u.other.session != nil {
			target = u.other.session.device
		}
		u.other.mu.Unlock()
	}
	token := u.refresh(s, url.Values{"scope": {"account"}, "resource": {u.cluster.issuer}})
	if token == "" {
		return
	}
	s.access = slices.DeleteFunc(s.access, func(t *access) bool { return t.token == token }) // it is for the issuer alone
	target.end.ask()
	a, lost := u.insist(request{kind: "removal of a device", method: http.MethodDelete, path: "/me/devices/" + target.id,
		device: s.device, token: token})
	switch {
	case a.ok():
		if lost > 0 {
			a.node = ""
		}
		target.end.acknowledge(a.node)
		u.ledger.add("removals of devices acknowledged", 1)
	case (a.code() == "invalid_token" || a.code() == "access_denied") && s.mayBeOver(a.ended): // by a request whose answer was lost, or by the other client
	default:
		u.ledger.broken("removal of a device: %v", &a)
	}
	if target == s.device {
		u.mu.Lock()
		u.session, u.past = nil, append(u.past, s)
		u.mu.Unlock()
	}
}
