package introspect_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/feed"
	"github.com/imidentity/issuer/introspect"
)

// A service keeps answers while it follows the revocations: the removal of a device ends its answer at once.
func ExampleClient_follower() {
	const device = "im:u1/d1@example.com"
	var gone atomic.Bool
	removed := make(chan bool, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == feed.Path:
			streamAsIssuer(w, r, device, removed)
		case r.Method == http.MethodGet:
			answerAsIssuer(w, r)
		case gone.Load():
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"active":false}`)
		default:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"active":true,"device":%q,"cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},`+
				`"token_type":"DPoP","expires_in":600,"max_age":5,"holder":"unverified"}`, device)
		}
	}))
	defer server.Close()
	issuer, id, secret := server.URL, "rooms", "s3cret"

	follower, err := feed.NewFollower(feed.FollowerConfig{
		Issuer: issuer, Stream: true,
		Authorize: func(r *http.Request) error { r.SetBasicAuth(id, secret); return nil },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := introspect.NewClient(introspect.ClientConfig{
		Issuer: issuer, AllowLoopback: true, ClientID: id, Secret: secret, AllowUnproven: true,
		Follower: follower, FollowedAge: 10 * time.Minute,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() { _ = follower.Run(ctx) }() // it ends with ctx
	for !follower.Alive(time.Now(), time.Minute) {
		time.Sleep(time.Millisecond)
	}

	ask := func() {
		result, err := client.Introspect(ctx, introspect.Question{Token: "of-alice"})
		fmt.Println(result.Answer.Active, err)
	}
	ask()
	mark := follower.Mark()
	gone.Store(true)
	removed <- true
	for !follower.Ended(mark, feed.Subject{Device: device}) {
		time.Sleep(time.Millisecond)
	}
	ask()
	// Output:
	// true <nil>
	// false <nil>
}

// streamAsIssuer streams as an issuer does: the removal of a device, once it was removed.
func streamAsIssuer(w http.ResponseWriter, r *http.Request, device string, removed <-chan bool) {
	var key feed.Key
	text, _ := key.MarshalText() // never fails
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprintf(w, "event: start\nid: c0\ndata: {\"hash_key\":%q,\"domains\":[\"example.com\"]}\n\n: alive\nid: c0\n\n", text)
	_ = http.NewResponseController(w).Flush()
	select {
	case <-removed:
		fmt.Fprintf(w, "id: c1\ndata: {\"kind\":\"device\",\"hash\":%q}\n\n", key.Hash(feed.Device, device))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	case <-r.Context().Done():
	}
}

// ExampleClient_events matches the events of a page with the answers that a program keeps itself.
func ExampleClient_events() {
	answer := introspect.Answer{Device: "im:u1/d1@example.com"}
	var page feed.Page
	page.Events = []feed.Event{{Kind: feed.Device, Hash: page.Key.Hash(feed.Device, "im:u1/d1@example.com")}}
	const token = "of-alice"
	forget := func(token string) { fmt.Println("forget the answer about", token) }

	for _, event := range page.Events {
		if page.Key.Matches(event, feed.Subject{JTI: answer.JTI, SID: answer.SID, Device: answer.Device, Sub: answer.Subject}) {
			forget(token)
		}
	}
	// Output: forget the answer about of-alice
}
