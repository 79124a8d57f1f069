package signin_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/signin"
)

// small is a quota of ten places, of which one network may have three and two are reserved.
var small = signin.QuotaSize{Total: 10, PerNetwork: 3, Reserved: 2}

// One network has its part of the places and no more; all networks together leave the reserved ones. A login that is over, or
// has expired, takes no place.
func TestQuota(t *testing.T) {
	w := open(t, nil)
	w.quota.Resize(small)
	var often *signin.QuotaError
	begin := func(address string) error {
		u := w.user("alice")
		u.from = netip.MustParseAddr(address)
		_, err := u.send(t, "", request("own", nil))
		return err
	}
	for i := range 5 {
		if err := begin(fmt.Sprintf("2001:db8::%d", i+1)); (err == nil) != (i < 3) || err != nil && (!errors.As(err, &often) || often.Wait <= 0) {
			t.Errorf("login %d of one network = %v, want three that begin", i, err)
		}
	}
	for i := range 7 {
		if err := begin(fmt.Sprintf("192.0.2.%d", i)); (err == nil) != (i < 5) || err != nil && !errors.Is(err, signin.ErrFull) {
			t.Errorf("login %d of different networks = %v, want five that begin", i, err)
		}
	}
	if n := w.pending(t); n != 8 {
		t.Errorf("%d logins are stored, want 8", n)
	}
	trusted := clients.Client{ID: "web", SecretSHA256: make([]byte, 32)}
	push := func(c clients.Client, key byte) error {
		return w.quota.AdmitPushed(netip.MustParseAddr("198.51.100.1"))(&c, [32]byte{key}, w.now().Add(time.Minute), func() error { return nil })
	}
	if err := push(registered[0], 1); !errors.Is(err, signin.ErrFull) {
		t.Errorf("a request pushed by a public client = %v, want %v", err, signin.ErrFull)
	}
	if err := push(trusted, 2); err != nil {
		t.Errorf("a request pushed by an authenticated client = %v, want a reserved place", err)
	}
	if err := push(trusted, 3); !errors.As(err, &often) {
		t.Errorf("a second one = %v, want a *QuotaError: half of the reserved places are for others", err)
	}
	w.advance(11 * time.Minute)
	if err := begin("192.0.2.99"); err != nil {
		t.Errorf("after all have expired, a login = %v, want nil", err)
	}
}

// Logins that end make room, however they end; the refusal of a pushed request keeps its place.
func TestQuotaFree(t *testing.T) {
	w := open(t, nil)
	w.known(t, "alice")
	w.quota.Resize(small)
	for range 4 {
		u := w.user("alice")
		page := u.asked(t, "guest", nil)
		wantCode(t, good[signin.Redirect](t, u, page, signin.Decide{Allow: true}))
		page = u.asked(t, "guest", nil)
		wantRefused(t, good[signin.Refuse](t, u, page, signin.Decide{}), oauth.CodeAccessDenied)
	}
	begun := 0
	for i := range 5 {
		u := w.user("alice")
		pushed := oauth.TokenRequest{Form: request("guest", nil).Request, Source: u.from}
		answer, err := w.oauth.Push(t.Context(), pushed, w.quota.AdmitPushed(u.from))
		if err != nil {
			break
		}
		out, err := u.send(t, "", signin.Begin{Request: url.Values{"client_id": {"guest"}, "request_uri": {answer.RequestURI}}})
		if err != nil {
			break
		}
		token, in := u.signInAt(t, out.(signin.Redirect).Location)
		in.Query.Del("code")
		in.Query.Set("error", "access_denied")
		wantRefused(t, good[signin.Refuse](t, u, token, in), oauth.CodeAccessDenied)
		begun = i + 1
	}
	if begun != 2 {
		t.Errorf("%d pushed requests were refused one after the other, want 2: each record takes a place of three", begun)
	}
}

// Rows of other processes, or from before a restart, take places too.
func TestRecount(t *testing.T) {
	w := open(t, nil)
	w.quota.Resize(small)
	count := func(n int, err error) func(context.Context) (int, error) {
		return func(context.Context) (int, error) { return n, err }
	}
	if err := w.quota.Recount(t.Context(), count(8, nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.user("alice").send(t, "", request("own", nil)); !errors.Is(err, signin.ErrFull) {
		t.Errorf("Advance = %v, want %v", err, signin.ErrFull)
	}
	broken := errors.New("broken")
	if err := w.quota.Recount(t.Context(), count(0, broken)); !errors.Is(err, broken) {
		t.Errorf("Recount = %v, want %v", err, broken)
	}
	if err := w.quota.Recount(t.Context(), count(0, nil)); err != nil {
		t.Fatal(err)
	}
	good[signin.Redirect](t, w.user("alice"), "", request("own", nil))
}

// A login whose row cannot be stored takes no place.
func TestQuotaOfFailure(t *testing.T) {
	w := open(t, nil)
	w.quota.Resize(small)
	w.before = func(op string) error {
		if op == "Update" {
			return errors.New("broken")
		}
		return nil
	}
	for range 5 {
		if _, err := w.user("alice").send(t, "", request("own", nil)); err == nil {
			t.Error("Advance = nil, want an error")
		}
	}
	w.before = nil
	good[signin.Redirect](t, w.user("alice"), "", request("own", nil))
}
