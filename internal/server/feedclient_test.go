package server_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/feed"
)

// TestFollower lets package feed follow the issuer, by pages and as a stream, with a secret and with a token of its own: what ends
// reaches it, also after a restart, and a lost position is a fresh start.
func TestFollower(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	token := s.service(t, follower, d, url.Values{"resource": {s.issuer}})
	type news struct {
		key   feed.Key
		event feed.Event
	}
	type running struct {
		name string
		*feed.Follower
		events chan news
		resets chan bool
	}
	var list []running
	for name, change := range map[string]func(*feed.FollowerConfig){
		"pages":              func(*feed.FollowerConfig) {},
		"stream":             func(c *feed.FollowerConfig) { c.Stream = true },
		"pages with a token": func(c *feed.FollowerConfig) { c.Client = nil },
	} {
		r := running{name: name, events: make(chan news, 100), resets: make(chan bool, 100)}
		cfg := feed.FollowerConfig{
			Issuer: s.issuer, Client: &http.Client{Transport: s.transport}, Wait: 5 * time.Second,
			Authorize: func(r *http.Request) error { follower.authenticate(url.Values{}, r.Header); return nil },
			Event:     func(k feed.Key, e feed.Event) { r.events <- news{k, e} }, Reset: func() { r.resets <- true },
		}
		if change(&cfg); cfg.Client == nil {
			cfg.Client = &http.Client{Transport: &dpop.Transport{Signer: d.Signer, Base: s.transport, Now: s.clock.now}}
			cfg.Authorize = func(r *http.Request) error { r.Header.Set("Authorization", "DPoP "+token); return nil }
		}
		cfg.After = func(wait time.Duration) <-chan time.Time {
			if wait > cfg.Wait {
				return time.After(wait) // of a request that hangs
			}
			return time.After(wait / 100)
		}
		var err error
		if r.Follower, err = feed.NewFollower(cfg); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		defer func() { stop(); <-ended }()
		<-r.resets
		list = append(list, r)
	}
	hears := func(r running, who feed.Subject) {
		t.Helper()
		for n := range r.events {
			if n.key.Matches(n.event, who) {
				return
			}
		}
	}
	for _, restart := range []bool{false, true} {
		phone := newDevice(t)
		held := s.login(t, phone, "alice")
		marks := make([]feed.Mark, len(list))
		for i, r := range list {
			if marks[i] = r.Mark(); r.Ended(marks[i], subject(t, held)) {
				t.Errorf("%s: a token that is active has ended", r.name)
			}
		}
		if restart {
			s.restart(t, nil)
		}
		s.remove(t, held.set.Device)
		for i, r := range list {
			hears(r, subject(t, held))
			if !r.Ended(marks[i], subject(t, held)) {
				t.Errorf("%s: the token has not ended", r.name)
			}
			if !r.Covers("example.com") || r.Covers("example.org") {
				t.Errorf("%s: the domains are not those of the client", r.name)
			}
		}
	}
	s.reload(t, map[string]string{"followed": "[example.com, example.org]"})
	for _, r := range list {
		<-r.resets
		<-r.resets // lost, and begun afresh
		for !r.Covers("example.org") {
			time.Sleep(time.Millisecond)
		}
	}
}
