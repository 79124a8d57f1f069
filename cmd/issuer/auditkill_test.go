package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/client"
)

// An act is a kind of event, with what tells it from all other acts of that kind.
type act struct{ event, what string }

// acts counts how often each act was acknowledged to its client.
type acts struct {
	*run
	admin func() client.Admin
	cut   atomic.Int64

	mu   sync.Mutex
	done map[act]int
}

// once has something done until the issuer says that it is, however often it dies meanwhile.
func (a *acts) once(event, what string, do func(admin client.Admin) error) error {
	err := a.insist(&a.cut, func() error {
		err := do(a.admin())
		switch c := code(err); c {
		case "request_in_progress", "answer_lost", "temporarily_unavailable": // it died within the request, or is starting
			return errors.New(c) // asking again with another key changes nothing if it was done
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("%s of %s: %w", event, what, err)
	}
	a.acknowledged.Add(1)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.done[act{event, what}]++
	return nil
}

// round has a person log in with two devices, and an operator do to them whatever is recorded.
func (a *acts) round(i, n int) error {
	var sessions [2]*session
	for j := range sessions {
		var err error
		if sessions[j], err = a.login(person(i)); err != nil {
			return err
		}
		a.acknowledged.Add(1)
	}
	id, err := claims.Parse(sessions[0].set.Device)
	if err != nil {
		return err
	}
	other, err := claims.Parse(sessions[1].set.Device)
	if err != nil {
		return err
	}
	const domain = "example.com"
	ctx, user, handle := a.t.Context(), id.Local(), fmt.Sprintf("handle%dx%d", i, n)
	for _, step := range []struct {
		event, what string
		do          func(admin client.Admin) error
	}{
		{"user.renamed", handle, func(admin client.Admin) error {
			_, err := admin.RenameUser(ctx, domain, user, handle, false)
			return err
		}},
		{"session.ended", sessions[0].set.SID, func(admin client.Admin) error {
			_, err := admin.EndSession(ctx, domain, sessions[0].set.SID, "test")
			return err
		}},
		{"device.removed", other.Device(), func(admin client.Admin) error {
			_, err := admin.RemoveDevice(ctx, domain, other.Device(), "test")
			return err
		}},
		{"user.disabled", user, func(admin client.Admin) error {
			_, err := admin.DisableUser(ctx, domain, user)
			return err
		}},
		{"user.enabled", user, func(admin client.Admin) error {
			_, err := admin.EnableUser(ctx, domain, user)
			return err
		}},
	} {
		if err := a.once(step.event, step.what, step.do); err != nil {
			return err
		}
	}
	return nil
}

// recorded counts the records of the audit log by what tells them apart.
func (a *acts) recorded(t *testing.T) map[act]int {
	t.Helper()
	log, err := a.admin().Audit(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	got := make(map[act]int)
	for lines := bufio.NewScanner(log); lines.Scan(); {
		var line struct {
			Record  *struct{ Event, User, Device, Session string }
			Private struct{ Values struct{ Handle string } }
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%v: %s", err, lines.Text())
		}
		r := line.Record
		if r == nil {
			continue
		}
		what := r.User
		switch r.Event {
		case "user.renamed":
			what = line.Private.Values.Handle
		case "device.added", "device.removed":
			what = r.Device
		case "session.ended":
			what = r.Session
		}
		got[act{r.Event, what}]++
	}
	return got
}

// TestAuditKill kills the issuer while people log in and an operator acts, all at once. Each act that was acknowledged has one record, one
// that was cut off and never acknowledged has at most one, and the chain is whole.
func TestAuditKill(t *testing.T) {
	t.Parallel()
	const workers = 8
	rounds, kills := 3, 4
	if testing.Short() {
		rounds, kills = 1, 2
	}
	v := newVictim(t)
	v.start(t)
	socket := v.admin
	a := &acts{
		run: &run{t: t, issuer: v.issuer}, done: make(map[act]int),
		admin: func() client.Admin { return client.Socket(socket) },
	}
	var working sync.WaitGroup
	for i := range workers {
		working.Go(func() {
			for n := range rounds {
				if err := a.round(i, n); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	total := int64(workers * rounds * 7)
	for k := range kills {
		for a.acknowledged.Load() < total*int64(k+1)/int64(kills+1) && !t.Failed() {
			time.Sleep(time.Millisecond)
		}
		v.kill(t)
		v.start(t)
	}
	working.Wait()
	if t.Failed() {
		return
	}
	got := a.recorded(t)
	users := make(map[string]int)
	for _, s := range a.sessions {
		id, err := claims.Parse(s.set.Device)
		if err != nil {
			t.Fatal(err)
		}
		a.done[act{"device.added", id.Device()}] = 1
		a.done[act{"user.created", id.Local()}] = 1
		users[id.Local()]++
	}
	for want, n := range a.done {
		if got[want] != n {
			t.Errorf("%d records of %s %s, want %d", got[want], want.event, want.what, n)
		}
	}
	added := 0
	for is, n := range got {
		switch is.event {
		case "device.added":
			if added += n; n != 1 {
				t.Errorf("%d records of the new device %s", n, is.what)
			}
		case "user.renamed", "session.ended", "device.removed", "user.disabled", "user.enabled", "user.created":
			if a.done[is] == 0 {
				t.Errorf("a record of %s %s, which was not requested", is.event, is.what)
			}
		}
	}
	if added != len(a.sessions) { // a login whose answer was lost goes on with the device that it added
		t.Errorf("%d records of new devices, want %d", added, len(a.sessions))
	}
	for user, n := range users {
		if in := got[act{"user.signed_in", user}]; in < n {
			t.Errorf("%d records of logins of %s, want at least %d", in, user, n)
		}
	}
	out, err := exec.Command("issuer", "audit", "verify", "--config", v.config()).CombinedOutput()
	if err != nil {
		t.Errorf("issuer audit verify = %v\n%s", err, out)
	}
	v.stop(t)
	t.Logf("%d kills, %d acts acknowledged, %d requests of operators cut off, %d logins cut off", v.kills, a.acknowledged.Load(), a.cut.Load(), a.cutLogins.Load()+a.cutCodes.Load())
}
