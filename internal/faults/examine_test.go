package faults_test

import (
	"encoding/json"
	"net/url"
	"sync"
	"time"
)

// examine asks every node about all that was acknowledged, when everything works again.
func examine(users []*user) {
	time.Sleep(limit + 100*time.Millisecond) // from now on, each node must know of every revocation that was acknowledged
	var group sync.WaitGroup
	for _, u := range users {
		group.Go(u.examine)
	}
	group.Wait()
}

// atEnd is how many of the things that a user remembers are tried again in the end.
const atEnd = 20

func (u *user) examine() {
	if s := u.session; s != nil && !s.mayBeOver(time.Now()) {
		if u.refresh(s, nil) != "" {
			u.ledger.add("in the end: sessions that can be refreshed", 1)
		}
		u.replayProof(s)
	}
	var tokens []*access
	if u.session != nil {
		tokens = append(tokens, u.session.access...)
	}
	tokens = append(tokens, u.ended...)
	for _, s := range u.past {
		tokens = append(tokens, s.access...)
	}
	for _, n := range u.cluster.nodes {
		u.askAbout(n, tokens)
	}
	for i, s := range u.past {
		if len(u.past)-i > atEnd || !s.isOver(time.Now()) {
			continue
		}
		for _, n := range u.cluster.nodes {
			a := u.ask(n, forRefresh("refresh of a session that is over", s, s.newest(), nil))
			if a.code() != "invalid_grant" {
				u.ledger.broken("a refresh of a session of %s that is over: %v", u.person, &a)
			}
			u.ledger.add("in the end: refresh tokens of ended sessions refused", 1)
		}
	}
	for i, c := range u.codes {
		if len(u.codes)-i <= atEnd {
			u.replay(c)
		}
	}
	u.replayOld()
}

// askAbout asks a node about tokens, and compares the answers with what is known about them.
func (u *user) askAbout(n *node, tokens []*access) {
	const most = 50
	for len(tokens) > 0 {
		page := tokens[:min(most, len(tokens))]
		tokens = tokens[len(page):]
		texts := make([]string, len(page))
		for i, t := range page {
			texts[i] = t.token
		}
		list, err := json.Marshal(texts)
		if err != nil {
			panic(err)
		}
		a := u.send(n, request{kind: "introspection of many", path: "/introspect/batch", form: url.Values{"tokens": {string(list)}}, basic: true})
		var body struct{ Answers []struct{ Active *bool } }
		if !a.ok() || json.Unmarshal(a.body, &body) != nil || len(body.Answers) != len(page) {
			u.ledger.broken("introspection of many tokens: %v", &a)
			continue
		}
		for i, t := range page {
			active := body.Answers[i].Active
			if active == nil {
				u.ledger.broken("introspection of many tokens, in the end: node %s does not know", n.name)
				continue
			}
			u.judge(t, *active, &a)
			if !*active && t.isOver(a.began, n.name) {
				u.ledger.add("in the end: revocations found in force at a node", 1)
			}
		}
	}
}

// replayOld uses the refresh tokens of a live session that were replaced, at all nodes at once. It ends the session.
func (u *user) replayOld() {
	s := u.session
	if s == nil || s.mayBeOver(time.Now()) || len(s.refresh) < 3 {
		return
	}
	s.end.ask()
	for i := max(0, len(s.refresh)-atEnd); i < len(s.refresh)-2; i++ {
		requests := make(map[*node]request)
		for _, n := range u.cluster.nodes {
			requests[n] = forRefresh("replaced refresh token", s, s.refresh[i], nil)
		}
		for _, a := range u.everywhere(requests) {
			if a.code() != "invalid_grant" {
				u.ledger.broken("a refresh token of %s that was replaced: %v", u.person, &a)
			}
			u.ledger.add("in the end: replaced refresh tokens refused", 1)
		}
	}
}
