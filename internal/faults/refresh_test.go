package faults_test

import (
	"maps"
	"net/url"
	"slices"
)

// forRefresh returns the request that refreshes a session with a refresh token.
func forRefresh(kind string, s *session, token string, more url.Values) request {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {"app"}}
	maps.Copy(form, more)
	return request{kind: kind, path: "/token", form: form, device: s.device}
}

// refresh refreshes a session. If an answer was lost, it asks again with the same token. It returns the access token, "" if the session
// is over.
func (u *user) refresh(s *session, more url.Values) string {
	i := len(s.refresh) - 1
	r := forRefresh("refresh", s, s.newest(), more)
	a, lost := u.insist(r)
	if lost > 0 && a.ok() {
		u.ledger.add("refreshes repeated because an answer was lost", 1)
	}
	if !a.ok() {
		u.refused(s, &a)
		return ""
	}
	u.ledger.wrote()
	if !u.take(s, i, &a) {
		return ""
	}
	u.accepted(r, &a)
	return s.access[len(s.access)-1].token
}

// refused handles the refusal of a refresh.
func (u *user) refused(s *session, a *answer) {
	if a.lost() {
		return // given up, which is noted
	}
	if a.code() != "invalid_grant" {
		u.ledger.broken("refresh of %s: %v", u.person, a)
	}
	u.leave(s, a)
}

// accepted remembers a request whose proof was accepted.
func (u *user) accepted(r request, a *answer) {
	if u.spent = append(u.spent, spent{r, a.proof}); len(u.spent) > 8 {
		u.spent = u.spent[1:]
	}
}

// raceRefresh refreshes a session at all nodes at once, each time with another proof: there is one successor.
func (u *user) raceRefresh(s *session) {
	i := len(s.refresh) - 1
	r := forRefresh("refresh, at three nodes at once", s, s.newest(), nil)
	u.raced(s, i, r, "refresh tokens raced at three nodes")
}

// raceProof refreshes a session at all nodes at once with one proof, of which one at most may be accepted.
func (u *user) raceProof(s *session) {
	i := len(s.refresh) - 1
	r := forRefresh("refresh, one proof at three nodes", s, s.newest(), nil)
	r.proof = u.prove(r)
	u.raced(s, i, r, "proofs raced at three nodes")
}

func (u *user) raced(s *session, i int, r request, what string) {
	requests := make(map[*node]request)
	for _, n := range u.cluster.nodes {
		requests[n] = r
	}
	u.ledger.add(what, 1)
	var good, refusal *answer
	for _, a := range u.everywhere(requests) {
		switch {
		case a.ok():
			if good != nil && r.proof != "" {
				u.ledger.broken("a proof of %s was accepted twice, by %s and %s", u.person, good.node, a.node)
			}
			good = &a
			u.take(s, i, &a)
		case a.lost():
		case r.proof != "" && slices.Contains([]string{"invalid_dpop_proof", "use_dpop_nonce"}, a.code()):
		default:
			refusal = &a
		}
	}
	if good != nil {
		u.ledger.add(what+": accepted", 1)
		u.accepted(r, good)
	}
	if refusal != nil {
		u.refused(s, refusal)
	}
}

// replayProof sends a request once more whose proof was accepted, to all nodes at once, with the newest refresh token: all else is good.
func (u *user) replayProof(s *session) {
	if len(u.spent) == 0 {
		return
	}
	old := u.spent[u.random.IntN(len(u.spent))]
	if old.request.device != s.device {
		return
	}
	r := forRefresh("replayed proof", s, s.newest(), nil)
	r.proof = old.proof
	requests := make(map[*node]request)
	for _, n := range u.cluster.nodes {
		requests[n] = r
	}
	for _, a := range u.everywhere(requests) {
		switch {
		case a.lost():
			u.ledger.add("proofs replayed at a node: no answer", 1)
		case a.code() == "invalid_dpop_proof":
			u.ledger.add("proofs replayed at a node: known as spent", 1)
		case a.code() == "use_dpop_nonce":
			u.ledger.add("proofs replayed at a node: nonce is stale", 1)
		case a.code() == "invalid_grant" && s.mayBeOver(a.ended):
		default:
			u.ledger.broken("a proof of %s that was spent: %v", u.person, &a)
		}
	}
}

// repeatLate sends a refresh of long ago once more, as a network does that delays and duplicates: with the refresh token before the
// previous one, and with a nonce from then. It is refused, and the session goes on.
func (u *user) repeatLate(s *session) {
	r := forRefresh("late duplicate", s, s.newest(), nil)
	r.proof = u.prove(r)
	for range 2 {
		if u.refresh(s, nil) == "" {
			return
		}
	}
	a := u.send(u.somewhere(), r)
	switch {
	case a.lost():
	case a.code() == "invalid_grant", a.code() == "use_dpop_nonce":
		u.ledger.add("old refresh tokens sent again: refused", 1)
	default:
		u.ledger.broken("an old refresh token of %s: %v", u.person, &a)
	}
}
