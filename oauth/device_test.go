package oauth_test

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
)

// newTVs starts an issuer with clients for screens: tv, another one, and one that names its key beforehand.
func newTVs(t *testing.T) *issuer {
	t.Helper()
	i := newIssuer(t, true)
	tv := clients.Client{
		ID: "tv", Name: "Big screen", Grants: []string{oauth.GrantDevice, oauth.GrantRefresh}, Scopes: []string{"im:handle", "im:device", "account"},
		Domains: []string{"example.com"}, Resources: []string{"https://rooms.example.com"},
	}
	other, strict, both := tv, tv, tv
	other.ID, strict.ID, both.ID = "other-tv", "strict-tv", "both-tv"
	strict.RequireDPoPJKT, both.Domains = true, []string{"example.com", "acme.example"}
	i.clients = append(i.clients, tv, other, strict, both)
	if err := i.registry.Set(i.clients); err != nil {
		t.Fatal(err)
	}
	return i
}

// admitted stores every request.
func admitted(_ *clients.Client, _ [32]byte, _ time.Time, store func() error) error { return store() }

// ask sends a device authorization request, with a proof by d unless that is nil.
func (i *issuer) ask(t *testing.T, client string, d *device, change url.Values) (oauth.DeviceAnswer, error) {
	t.Helper()
	r := i.request(t, client, nil, with(url.Values{}, change))
	if d != nil {
		nonce, err := i.proofs.Nonce(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		proof, err := d.Proof(dpop.ProofParams{
			Method: http.MethodPost, URL: issuerURL + "/device_authorization", Nonce: nonce, IssuedAt: i.clock.now(),
		})
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("DPoP", proof)
	}
	return i.AuthorizeDevice(t.Context(), r, admitted)
}

// asked is ask of the client tv that must succeed.
func (i *issuer) asked(t *testing.T, d *device) oauth.DeviceAnswer {
	t.Helper()
	a, err := i.ask(t, "tv", d, url.Values{"im_device_name": {"Living room"}, "im_device_platform": {"tv"}})
	if err != nil {
		t.Fatalf("AuthorizeDevice = %v", err)
	}
	return a
}

func pollForm(code string) url.Values {
	return url.Values{"grant_type": {oauth.GrantDevice}, "device_code": {code}}
}

// poll polls as tv.
func (i *issuer) poll(t *testing.T, d *device, code string) (oauth.TokenAnswer, error) {
	t.Helper()
	return i.Token(t.Context(), i.request(t, "tv", d, pollForm(code)))
}

// A phone is a device of a user that has logged in.
type phone struct {
	*device
	user   storage.User
	tokens oauth.TokenAnswer
	owner  account.Owner
}

func (i *issuer) phone(t *testing.T, name string) phone {
	t.Helper()
	p := phone{device: newDevice(t), user: i.user(t, name)}
	p.tokens = i.login(t, p.user, p.device)
	p.owner = account.Owner{Domain: p.user.Domain, User: p.user.ID, SID: claimsOf(t, p.tokens.AccessToken).SID}
	return p
}

// decide decides by a phone.
func (i *issuer) decide(t *testing.T, p phone, userCode string, allow bool) (oauth.DecidedDevice, error) {
	t.Helper()
	code, ok := oauth.ParseUserCode(userCode)
	if !ok {
		t.Fatalf("%q is no user code", userCode)
	}
	return i.DecideDevice(t.Context(), oauth.DeviceDecision{
		UserCode: code, Allow: allow, By: i.OwnDevice(p.owner, 5*time.Minute),
	})
}

func (i *issuer) deviceID(t *testing.T, p phone) string {
	t.Helper()
	_, _, d, err := i.store.Session(t.Context(), p.owner.SID)
	if err != nil {
		t.Fatal(err)
	}
	return d.ID
}

func (i *issuer) allow(t *testing.T, p phone, a oauth.DeviceAnswer) {
	t.Helper()
	if _, err := i.decide(t, p, a.UserCode, true); err != nil {
		t.Fatalf("DecideDevice = %v", err)
	}
}

var pending = refusal{code: "authorization_pending", description: "The user has not decided yet"}

func TestDevice(t *testing.T) {
	i := newTVs(t)
	alice, tv := i.phone(t, "alice"), newDevice(t)
	i.advance(t, time.Minute)
	a := i.asked(t, nil)
	if a.VerificationURI != issuerURL+"/device" || a.VerificationURIComplete != issuerURL+"/device?user_code="+a.UserCode ||
		a.ExpiresIn != 600 || a.Interval != 5 || len(a.DeviceCode) != 43 || len(a.UserCode) != 9 {
		t.Errorf("AuthorizeDevice = %+v, want what RFC 8628 §3.2 says", a)
	}
	_, err := i.poll(t, tv, a.DeviceCode)
	pending.check(t, err)
	code, _ := oauth.ParseUserCode(strings.ToLower(strings.ReplaceAll(a.UserCode, "-", " ")))
	asks, err := i.DeviceRequest(t.Context(), code, alice.user)
	if err != nil || asks.UserCode.String() != a.UserCode || asks.Client.Title() != "Big screen" || asks.DeviceName != "Living room" ||
		asks.Network != "192.0.2.0/24" || !asks.CreatedAt.Equal(i.clock.now()) || !slices.Equal(asks.Audience, []string{"im:example.com"}) ||
		!slices.Equal(asks.Scopes, []string{"im:handle", "im:device"}) || asks.Device != nil || asks.Full || asks.KeyInUse || asks.Life == 0 {
		t.Errorf("DeviceRequest = %+v, %v, want what the TV asked", asks, err)
	}
	for _, changed := range []bool{true, false} { // the answer was lost
		done, err := i.decide(t, alice, a.UserCode, true)
		if err != nil || done.Changed != changed || done.Client.ID != "tv" {
			t.Errorf("DecideDevice = %+v, %v, want changed %t", done, err, changed)
		}
	}
	if _, err := i.DeviceRequest(t.Context(), code, alice.user); !errors.Is(err, oauth.ErrNoUserCode) {
		t.Errorf("DeviceRequest after the decision = %v, want %v", err, oauth.ErrNoUserCode)
	}
	if _, err := i.decide(t, alice, a.UserCode, false); !errors.Is(err, oauth.ErrNoUserCode) {
		t.Errorf("DecideDevice the other way = %v, want %v", err, oauth.ErrNoUserCode)
	}
	answer, err := i.poll(t, tv, a.DeviceCode)
	if err != nil {
		t.Fatalf("Token = %v, want tokens", err)
	}
	set, hers := claimsOf(t, answer.AccessToken), claimsOf(t, alice.tokens.AccessToken)
	if set.Subject != hers.Subject || set.Handle != hers.Handle || set.Device == hers.Device || set.JKT != tv.JKT() || set.ClientID != "tv" ||
		!set.AuthTime.Equal(hers.AuthTime) || answer.Scope != "im:handle im:device" {
		t.Errorf("claims = %+v, want those of alice on a new device, with the time of her login", set)
	}
	_, _, d, err := i.store.Session(t.Context(), set.SID)
	if err != nil || d.Name != "Living room" || d.Client != "tv" {
		t.Errorf("device = %+v, %v, want the TV", d, err)
	}
	events, _, _, err := i.accounts.OwnEvents(t.Context(), alice.owner, 0, 10)
	if err != nil || len(events) != 2 || events[1].Kind != storage.DeviceAdded || events[1].Device != d.ID {
		t.Errorf("events = %+v, %v, want the new device last", events, err)
	}
	i.refuses(t, i.request(t, "tv", tv, pollForm(a.DeviceCode)), refusal{code: "invalid_grant", description: "The device code is unknown, spent"})
	i.token(t, "tv", tv, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {answer.RefreshToken}})
}

// TestDeviceAuthorizationRefused holds the refusals of the first request. None stores anything.
func TestDeviceAuthorizationRefused(t *testing.T) {
	i := newTVs(t)
	gone := i.phone(t, "alice")
	if _, err := i.accounts.RemoveDevice(t.Context(), "example.com", i.deviceID(t, gone), "lost"); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		client string
		by     *device
		change url.Values
		want   refusal
	}{
		"client without the grant": {client: "app", want: refusal{code: "unauthorized_client", description: "The client is not registered for the grant type"}},
		"unknown client":           {client: "nobody", want: refusal{code: "invalid_client"}},
		"foreign scope": {change: url.Values{"scope": {"im:handle introspect"}},
			want: refusal{code: "invalid_scope", description: "The client is not registered for the scope"}},
		"foreign resource": {change: url.Values{"resource": {"https://other.example"}},
			want: refusal{code: "invalid_target", description: "The client is not registered for the resource"}},
		"foreign domain": {change: url.Values{"im_domain": {"acme.example"}},
			want: refusal{code: "invalid_request", description: "The client is not registered for the im_domain"}},
		"no device name": {change: url.Values{"im_device_name": {"a\u202eb"}},
			want: refusal{code: "invalid_request", description: "im_device_name must be 1 to 64 printable characters."}},
		"no proof, where one is due": {client: "strict-tv",
			want: refusal{code: "invalid_request", description: "The client is registered to name its key before the login: send a DPoP proof."}},
		"key of a removed device": {by: gone.device, want: refusal{code: "invalid_request", description: "make a new key"}},
	} {
		t.Run(name, func(t *testing.T) {
			if test.client == "" {
				test.client = "tv"
			}
			_, err := i.ask(t, test.client, test.by, test.change)
			test.want.check(t, err)
		})
	}
	if n, err := i.store.Waiting(t.Context()); n != 0 || err != nil {
		t.Errorf("Waiting = %d, %v, want none", n, err)
	}
	if _, err := i.ask(t, "strict-tv", newDevice(t), nil); err != nil {
		t.Errorf("AuthorizeDevice with a proof = %v, want nil", err)
	}
	proof := newDevice(t)
	r := i.request(t, "tv", proof, url.Values{}) // for the token endpoint
	if _, err := i.AuthorizeDevice(t.Context(), r, admitted); err == nil {
		t.Error("AuthorizeDevice took a proof for another endpoint")
	}
	full := errors.New("full")
	_, err := i.AuthorizeDevice(t.Context(), i.request(t, "tv", nil, url.Values{}),
		func(*clients.Client, [32]byte, time.Time, func() error) error { return full })
	if !errors.Is(err, full) {
		t.Errorf("AuthorizeDevice without a place = %v, want %v", err, full)
	}
	i.limits.client = errLimit
	if _, err := i.ask(t, "tv", nil, nil); !errors.Is(err, errLimit) {
		t.Errorf("AuthorizeDevice beyond the limit = %v, want %v", err, errLimit)
	}
}

// TestDeviceCodeRefused holds every refusal of a device code that writes nothing. The code is as good as before.
func TestDeviceCodeRefused(t *testing.T) {
	i := newTVs(t)
	alice, tv := i.phone(t, "alice"), newDevice(t)
	allowed, denied, waits := i.asked(t, tv), i.asked(t, tv), i.asked(t, tv)
	i.allow(t, alice, allowed)
	if _, err := i.decide(t, alice, denied.UserCode, false); err != nil {
		t.Fatal(err)
	}
	unknown := refusal{code: "invalid_grant", description: "The device code is unknown, spent, or was ended"}
	for name, test := range map[string]struct {
		client string
		by     *device
		form   url.Values
		want   refusal
	}{
		"no proof":                {"tv", nil, pollForm(allowed.DeviceCode), refusal{err: dpop.ErrNoProof}},
		"no code":                 {"tv", tv, pollForm(""), refusal{code: "invalid_request", description: "The parameter device_code is missing."}},
		"unknown code":            {"tv", tv, pollForm("AAAA"), unknown},
		"user code":               {"tv", tv, pollForm(allowed.UserCode), unknown},
		"another client's":        {"other-tv", tv, pollForm(allowed.DeviceCode), unknown},
		"another client's, waits": {"other-tv", tv, pollForm(waits.DeviceCode), unknown},
		"another key": {"tv", newDevice(t), pollForm(allowed.DeviceCode),
			refusal{code: "invalid_grant", description: "The device code is bound to another key: send a proof by the key of the first request."}},
		"another key, waits": {"tv", newDevice(t), pollForm(waits.DeviceCode), refusal{code: "invalid_grant", description: "bound to another key"}},
		"denied":             {"tv", tv, pollForm(denied.DeviceCode), refusal{code: "access_denied", description: "The user has denied the request."}},
		"client without the grant": {"app", tv, pollForm(allowed.DeviceCode),
			refusal{code: "unauthorized_client", description: "The client is not registered for the grant type"}},
	} {
		t.Run(name, func(t *testing.T) { i.refuses(t, i.request(t, test.client, test.by, test.form), test.want) })
	}
	_, err := i.poll(t, tv, denied.DeviceCode)
	if refused := (*oauth.Error)(nil); !errors.As(err, &refused) || refused.Status() != http.StatusBadRequest {
		t.Errorf("Token = %v, want status 400 as RFC 8628 §3.5 says", err)
	}
	if _, err := i.poll(t, tv, allowed.DeviceCode); err != nil {
		t.Errorf("Token = %v, want tokens after all refusals", err)
	}
	later := i.asked(t, tv)
	i.allow(t, alice, later)
	i.advance(t, 10*time.Minute)
	for _, a := range []oauth.DeviceAnswer{waits, later} {
		i.refuses(t, i.request(t, "tv", tv, pollForm(a.DeviceCode)), refusal{code: "expired_token", description: "The device code has expired"})
	}
	if _, err := i.decide(t, alice, waits.UserCode, true); !errors.Is(err, account.ErrLoginAge) {
		t.Errorf("DecideDevice = %v, want %v", err, account.ErrLoginAge)
	}
}

// TestDeviceBound holds that the key of the first request is the key of the device code: by the proof of the authorization request, or by
// the first poll.
func TestDeviceBound(t *testing.T) {
	i := newTVs(t)
	alice := i.phone(t, "alice")
	for name, early := range map[string]bool{"by the authorization request": true, "by the first poll": false} {
		t.Run(name, func(t *testing.T) {
			tv, thief := newDevice(t), newDevice(t)
			by := tv
			if !early {
				by = nil
			}
			a := i.asked(t, by)
			if !early {
				_, err := i.poll(t, tv, a.DeviceCode)
				pending.check(t, err)
			}
			_, err := i.poll(t, thief, a.DeviceCode)
			refusal{code: "invalid_grant", description: "bound to another key"}.check(t, err)
			i.allow(t, alice, a)
			_, err = i.poll(t, thief, a.DeviceCode)
			refusal{code: "invalid_grant", description: "bound to another key"}.check(t, err)
			if _, err := i.poll(t, tv, a.DeviceCode); err != nil {
				t.Errorf("Token = %v, want tokens", err)
			}
		})
	}
	removed, a := i.phone(t, "bob"), i.asked(t, nil)
	if _, err := i.accounts.RemoveDevice(t.Context(), "example.com", i.deviceID(t, removed), "lost"); err != nil {
		t.Fatal(err)
	}
	_, err := i.poll(t, removed.device, a.DeviceCode)
	refusal{code: "invalid_request", description: "make a new key"}.check(t, err)

	// A copy of a poll is refused, so nobody sends it again after the decision.
	r := i.request(t, "tv", newDevice(t), pollForm(a.DeviceCode))
	_, err = i.Token(t.Context(), r)
	pending.check(t, err)
	i.allow(t, alice, a)
	if _, err := i.Token(t.Context(), r); !errors.Is(err, dpop.ErrReplayed) {
		t.Errorf("Token = %v, want %v", err, dpop.ErrReplayed)
	}
}

// TestDevicePolledTooFast holds slow_down: each early poll raises the interval by five seconds, until the decision.
func TestDevicePolledTooFast(t *testing.T) {
	i := newTVs(t)
	alice, tv := i.phone(t, "alice"), newDevice(t)
	a, other := i.asked(t, tv), i.asked(t, tv)
	slow := func(seconds string) refusal {
		return refusal{code: "slow_down", description: "polls too often: wait " + seconds + " seconds"}
	}
	for n, step := range []struct {
		after time.Duration
		want  refusal
	}{
		{0, pending}, {5 * time.Second, pending}, {4 * time.Second, pending}, {3 * time.Second, slow("10")}, {5 * time.Second, slow("15")},
		{14 * time.Second, pending}, {15 * time.Second, pending}, {10 * time.Second, slow("20")}, {0, slow("25")}, {25 * time.Second, pending},
	} {
		i.clock.advance(step.after)
		_, err := i.poll(t, tv, a.DeviceCode)
		t.Logf("step %d: %v", n, err)
		step.want.check(t, err)
	}
	_, err := i.poll(t, tv, other.DeviceCode) // each code has an interval of its own
	pending.check(t, err)
	thief := i.request(t, "tv", newDevice(t), pollForm(other.DeviceCode))
	for range 3 {
		_, err := i.Token(t.Context(), thief)
		refusal{code: "invalid_grant", description: "bound to another key"}.check(t, err)
	}
	i.clock.advance(5 * time.Second) // what others send does not slow it down
	_, err = i.poll(t, tv, other.DeviceCode)
	pending.check(t, err)
	i.allow(t, alice, a)
	if _, err := i.poll(t, tv, a.DeviceCode); err != nil {
		t.Errorf("Token = %v, want tokens as soon as they are allowed", err)
	}
}

// TestDeviceRaced lets polls, and decisions, race: one of each wins.
func TestDeviceRaced(t *testing.T) {
	i := newTVs(t)
	alice := i.phone(t, "alice")
	const racers = 12
	race := func(run func(n int) error) (errs []error) {
		errs = make([]error, racers)
		var group sync.WaitGroup
		for n := range racers {
			group.Go(func() { errs[n] = run(n) })
		}
		group.Wait()
		return errs
	}
	won := func(errs []error) (n int) {
		for _, err := range errs {
			if err == nil {
				n++
			}
		}
		return n
	}
	t.Run("polls with one key and with several", func(t *testing.T) {
		for _, same := range []bool{true, false} {
			a, tv := i.asked(t, nil), newDevice(t)
			i.allow(t, alice, a)
			requests := make([]oauth.TokenRequest, racers)
			for n := range requests {
				by := tv
				if !same {
					by = newDevice(t)
				}
				requests[n] = i.request(t, "tv", by, pollForm(a.DeviceCode))
			}
			errs := race(func(n int) error {
				_, err := i.Token(t.Context(), requests[n])
				return err
			})
			if n := won(errs); n != 1 {
				t.Errorf("%d polls won: %v, want one", n, errs)
			}
			for _, err := range errs {
				if err != nil {
					if refused := (*oauth.Error)(nil); !errors.As(err, &refused) || refused.Code != "invalid_grant" &&
						refused.Code != "temporarily_unavailable" {
						t.Errorf("a loser got %v, want invalid_grant", err)
					}
				}
			}
		}
	})
	t.Run("first polls", func(t *testing.T) {
		a := i.asked(t, nil)
		requests := make([]oauth.TokenRequest, racers)
		for n := range requests {
			requests[n] = i.request(t, "tv", newDevice(t), pollForm(a.DeviceCode))
		}
		errs := race(func(n int) error {
			_, err := i.Token(t.Context(), requests[n])
			if refused := (*oauth.Error)(nil); errors.As(err, &refused) && refused.Code == "authorization_pending" {
				return nil
			}
			return err
		})
		if n := won(errs); n != 1 {
			t.Errorf("%d keys were bound: %v, want one", n, errs)
		}
	})
	t.Run("decisions", func(t *testing.T) {
		bob, tv := i.phone(t, "bob"), newDevice(t)
		a := i.asked(t, tv)
		outcomes := make([]oauth.DecidedDevice, racers)
		errs := race(func(n int) (err error) {
			by := []phone{alice, bob}[n%2]
			outcomes[n], err = i.decide(t, by, a.UserCode, n%3 != 0)
			return err
		})
		changed, winner := 0, 0
		for n, o := range outcomes {
			if o.Changed {
				changed, winner = changed+1, n
			}
			if errs[n] != nil && !errors.Is(errs[n], oauth.ErrNoUserCode) {
				t.Errorf("a loser got %v, want %v", errs[n], oauth.ErrNoUserCode)
			}
		}
		if changed != 1 {
			t.Fatalf("%d decisions counted, want one", changed)
		}
		answer, err := i.poll(t, tv, a.DeviceCode)
		if winner%3 == 0 {
			refusal{code: "access_denied"}.check(t, err)
			return
		}
		want := []phone{alice, bob}[winner%2]
		if err != nil || !strings.Contains(claimsOf(t, answer.AccessToken).Subject, want.user.ID) {
			t.Errorf("Token = %+v, %v, want tokens of %s", answer, err, want.user.Handle)
		}
	})
}

// TestDeviceEnded holds that what ends the login of the person who allowed a device code ends the code, too, and that a person without a
// live and fresh login allows nothing.
func TestDeviceEnded(t *testing.T) {
	for name, end := range map[string]func(i *issuer, p phone) error{
		"the user is disabled, and enabled again": func(i *issuer, p phone) error {
			_, err := i.accounts.Disable(context.Background(), "example.com", p.user.ID)
			_, err2 := i.accounts.Enable(context.Background(), "example.com", p.user.ID)
			return errors.Join(err, err2)
		},
		"the phone is removed": func(i *issuer, p phone) error {
			_, err := i.accounts.RemoveOwnDevice(context.Background(), p.owner, deviceAt(i, p), "stolen")
			return err
		},
		"the provider ends the login": func(i *issuer, p phone) error {
			_, err := i.accounts.Logout(context.Background(), account.Logout{
				Domain: "example.com", Issuer: provider, Subject: "alice", At: i.clock.now(), ID: [32]byte{1}, SpentUntil: i.clock.now().Add(time.Hour),
			})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			i := newTVs(t)
			alice, tv := i.phone(t, "alice"), newDevice(t)
			a, waits := i.asked(t, tv), i.asked(t, tv)
			i.allow(t, alice, a)
			if err := end(i, alice); err != nil {
				t.Fatal(err)
			}
			i.refuses(t, i.request(t, "tv", tv, pollForm(a.DeviceCode)), refusal{code: "invalid_grant", description: "was ended with the login"})
			code, _ := oauth.ParseUserCode(waits.UserCode)
			for _, allow := range []bool{true, false} {
				_, err := i.DecideDevice(t.Context(), oauth.DeviceDecision{UserCode: code, Allow: allow, By: i.OwnDevice(alice.owner, 0)})
				if !errors.Is(err, account.ErrNoSession) {
					t.Errorf("DecideDevice without a session = %v, want %v", err, account.ErrNoSession)
				}
			}
			again := i.phone(t, "alice")
			i.allow(t, again, waits)
			if _, err := i.poll(t, tv, waits.DeviceCode); err != nil {
				t.Errorf("Token = %v, want tokens after a new login", err)
			}
		})
	}
}

func deviceAt(i *issuer, p phone) string {
	_, _, d, _ := i.store.Session(context.Background(), p.owner.SID)
	return d.ID
}

// TestDeviceDecisionRefused holds what a person cannot allow.
func TestDeviceDecisionRefused(t *testing.T) {
	i := newTVs(t)
	alice, bob := i.phone(t, "alice"), i.phone(t, "bob")
	elsewhere, err := i.accounts.SignIn(t.Context(), account.SignIn{Domain: "acme.example", Issuer: provider, Subject: "carol", Handle: "carol"})
	if err != nil {
		t.Fatal(err)
	}
	of := func(u storage.User) func(context.Context, storage.Reader) (oauth.Approver, error) {
		return func(context.Context, storage.Reader) (oauth.Approver, error) {
			return oauth.Approver{Login: oauth.Login{User: u, Issuer: provider}}, nil
		}
	}
	wants := func(step string, a oauth.DeviceAnswer, u storage.User, want error) {
		t.Helper()
		code, _ := oauth.ParseUserCode(a.UserCode)
		if _, err := i.DecideDevice(t.Context(), oauth.DeviceDecision{UserCode: code, Allow: true, By: of(u)}); !errors.Is(err, want) {
			t.Errorf("%s: DecideDevice = %v, want %v", step, err, want)
		}
	}
	a := i.asked(t, nil)
	wants("another domain", a, elsewhere, oauth.ErrNoUserCode)
	wants("never given", oauth.DeviceAnswer{UserCode: "BBBB-BBBB"}, alice.user, oauth.ErrNoUserCode)
	wants("no code", oauth.DeviceAnswer{}, alice.user, oauth.ErrNoUserCode)
	named, err := i.ask(t, "both-tv", nil, url.Values{"im_domain": {"acme.example"}})
	if err != nil {
		t.Fatal(err)
	}
	wants("another domain than the TV wants", named, alice.user, oauth.ErrNoUserCode)
	wants("the domain that it wants", named, elsewhere, nil)
	open, err := i.ask(t, "both-tv", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	wants("any domain of the client", open, elsewhere, nil)
	wants("key of somebody else", i.asked(t, bob.device), alice.user, oauth.ErrDeviceKeyInUse)
	known := i.asked(t, alice.device)
	code, _ := oauth.ParseUserCode(known.UserCode)
	if asks, err := i.DeviceRequest(t.Context(), code, alice.user); err != nil || asks.Device == nil || asks.Full {
		t.Errorf("DeviceRequest by a known key = %+v, %v, want the device", asks, err)
	}
	for range 3 { // four devices are allowed
		i.login(t, alice.user, newDevice(t))
	}
	wants("one device too many", a, alice.user, oauth.ErrDeviceLimit)
	wants("a device that is there", known, alice.user, nil)
	if _, err := i.poll(t, alice.device, known.DeviceCode); err != nil {
		t.Errorf("Token = %v, want tokens for a device that is there", err)
	}
	i.register(t, "tv", func(c *clients.Client) { c.Scopes = []string{"im:handle"} })
	scoped, err := i.ask(t, "tv", nil, url.Values{"scope": {"im:handle"}})
	if err != nil {
		t.Fatal(err)
	}
	i.register(t, "tv", func(c *clients.Client) { c.Scopes = []string{"im:device"} })
	wants("a scope that the client has lost", scoped, bob.user, oauth.ErrNoUserCode)
	i.register(t, "tv", func(c *clients.Client) { c.Grants = []string{oauth.GrantRefresh} })
	wants("a client that has lost the grant", a, bob.user, oauth.ErrNoUserCode)
}

// TestNetwork holds how much of an address is stored.
func TestNetwork(t *testing.T) {
	i := newTVs(t)
	bob := i.phone(t, "bob")
	for from, want := range map[string]string{
		"192.0.2.77": "192.0.2.0/24", "::ffff:192.0.2.77": "192.0.2.0/24", "2001:db8:1:2::3": "2001:db8:1::/48", "fe80::1%eth0": "fe80::/48", "": "",
	} {
		r := i.request(t, "tv", nil, url.Values{})
		r.Source, _ = netip.ParseAddr(from)
		a, err := i.AuthorizeDevice(t.Context(), r, admitted)
		if err != nil {
			t.Fatal(err)
		}
		code, _ := oauth.ParseUserCode(a.UserCode)
		if asks, err := i.DeviceRequest(t.Context(), code, bob.user); err != nil || asks.Network != want {
			t.Errorf("network of %s = %q, %v, want %q", from, asks.Network, err, want)
		}
	}
}

// FuzzUserCode holds that a user code has one spelling: whatever is read is written as four letters, a hyphen and four letters, of those
// that codes have, and is read again as the same, in any case and with any separator.
func FuzzUserCode(f *testing.F) {
	for _, seed := range []string{"", "WDJB-MJHT", "wdjbmjht", " wdjb mjht ", "WDJB–MJHT", "WDJB-MJH", "WDJB-MJHTX", "AEIOU", "ſſſſſſſſ", "KKKKKKKK"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		code, ok := oauth.ParseUserCode(text)
		if !ok {
			return
		}
		shown := code.String()
		if len(shown) != 9 || shown[4] != '-' || strings.Trim(shown, "BCDFGHJKLMNPQRSTVWXZ-") != "" {
			t.Fatalf("ParseUserCode(%q) = %q", text, shown)
		}
		for _, spelling := range []string{shown, strings.ToLower(shown), strings.ReplaceAll(shown, "-", ""), " " + strings.ReplaceAll(shown, "-", ". ")} {
			if again, ok := oauth.ParseUserCode(spelling); !ok || again != code {
				t.Errorf("ParseUserCode(%q) = %q, %t, want %q", spelling, again, ok, code)
			}
		}
	})
}
