package server_test

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/imidentity/issuer/feed"
	"github.com/imidentity/issuer/introspect"
)

// TestTwoIssuers is the story of two issuers for two domains. Alice of example.com shows tokens to Bob of abroad.example, whose client
// asks her issuer about them, with a token of its own from his issuer: about one, and about a room of 500 in one call. When her device is
// removed, that is the next event of a service that follows her issuer, and the service's answer about her is gone; Bob's client, which
// follows nothing, keeps its own for no longer than its max_age.
func TestTwoIssuers(t *testing.T) {
	home, far := startTwo(t, "")
	home.reload(t, withFeed)
	follow, events := home.follow(t)
	service, _ := home.asker(t, home.followed(follow))

	phone, laptop := newDevice(t), newDevice(t)
	code := home.code(t, "alice", url.Values{"resource": {"im:abroad.example"}})
	alice := wantTokens(t, home.token(t, app, phone, codeForm(code, nil)))
	bob := far.loginFor(t, laptop, "bob", "im:abroad.example", home.issuer)
	bobs, count := home.asker(t, ownToken(laptop, bob.access, bob.set.Subject), func(c *introspect.ClientConfig) { c.Signed = true })

	about := wantSays(t, bobs, alice.access, true)
	if about.Subject != alice.set.Subject || about.Device != alice.set.Device || about.Confirmation.JKT != phone.JKT() {
		t.Errorf("answer = %+v, want Alice on her phone", about)
	}
	wantSays(t, service, alice.access, true)

	room, held := []string{alice.access}, alice
	for len(room) < 100 {
		held = wantTokens(t, home.token(t, app, phone, refreshForm(held.refresh)))
		room = append(room, held.access)
	}
	room = append(room, home.login(t, newDevice(t), "bob").access) // not for abroad.example
	for len(room) < 500 {
		room = append(room, fmt.Sprint("never-issued-", len(room)))
	}
	// What the client keeps about the room is dropped: the whole room is asked about.
	bobs.Forget()
	asked := count.of("/introspect")
	all, err := bobs.IntrospectAll(t.Context(), room)
	if err != nil || len(all) != 500 {
		t.Fatalf("IntrospectAll = %d results, %v, want 500", len(all), err)
	}
	for i, r := range all {
		if active := i < 100; r.Err != nil || r.Answer.Active != active || active && r.Answer.Subject != alice.set.Subject {
			t.Fatalf("%d: %+v, want active %t", i, r, active)
		}
	}
	if n, m := count.of("/introspect/batch"), count.of("/introspect")-asked; n != 5 || m != 0 {
		t.Errorf("%d requests about several tokens and %d about one, want 5", n, m)
	}

	mark, who := follow.Mark(), subject(t, alice)
	if follow.Ended(mark, who) || len(events) != 0 {
		t.Fatal("there are events already")
	}
	home.remove(t, alice.set.Device)
	if e := <-events; e.Kind != feed.Device || !follow.Ended(mark, who) {
		t.Errorf("the next event is %+v, want that of Alice's device", e)
	}
	wantSays(t, service, alice.access, false)
	wantSays(t, bobs, alice.access, true) // kept
	home.advance(t, 6*time.Second)
	wantSays(t, bobs, alice.access, false)
}
