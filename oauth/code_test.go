package oauth_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
)

// challenge is the S256 challenge of a verifier.
func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// authorization is a request to the authorization endpoint.
func authorization(change url.Values) url.Values {
	return with(url.Values{
		"client_id": {"app"}, "redirect_uri": {callback}, "response_type": {"code"}, "state": {"a state"},
		"code_challenge": {challenge(verifier)}, "code_challenge_method": {"S256"},
	}, change)
}

// pending prepares the code of an authorization request for a user.
func (i *issuer) pending(t *testing.T, u storage.User, change url.Values) *oauth.PendingCode {
	t.Helper()
	a, err := i.Authorize(t.Context(), authorization(change))
	if err != nil {
		t.Fatalf("Authorize = %v", err)
	}
	c, err := i.PrepareCode(t.Context(), a.Request, oauth.Login{User: u, Issuer: provider, AuthTime: i.clock.now()})
	if err != nil {
		t.Fatalf("PrepareCode = %v", err)
	}
	return c
}

// code logs a user in and returns the code.
func (i *issuer) code(t *testing.T, u storage.User, change url.Values) string {
	t.Helper()
	c := i.pending(t, u, change)
	i.update(t, c.Insert)
	to, err := url.Parse(c.Location())
	if err != nil {
		t.Fatal(err)
	}
	return to.Query().Get("code")
}

// codeForm redeems a code.
func codeForm(code string) url.Values {
	return url.Values{
		"grant_type": {oauth.GrantCode}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier},
	}
}

// login logs a user in on a device.
func (i *issuer) login(t *testing.T, u storage.User, d *device) oauth.TokenAnswer {
	t.Helper()
	return i.token(t, "app", d, codeForm(i.code(t, u, nil)))
}

func TestCode(t *testing.T) {
	i := newIssuer(t, true)
	alice, d := i.user(t, "alice"), newDevice(t)
	a := i.login(t, alice, d)
	set := claimsOf(t, a.AccessToken)
	if a.TokenType != "DPoP" || a.ExpiresIn != 600 || a.RefreshToken == "" ||
		a.Scope != "im:handle im:device introspect" && a.Scope != "im:handle im:device" {
		t.Errorf("Token = %+v, want a token and a refresh token for 600 s", a)
	}
	if set.JKT != d.JKT() || set.Handle != "im:%40alice@example.com" || !strings.HasPrefix(set.Subject, "im:"+alice.ID) ||
		set.Device == "" || set.SID == "" || !set.AuthTime.Equal(i.clock.now()) {
		t.Errorf("claims = %+v, want those of alice and the device", set)
	}
	if b := i.token(t, "other", newDevice(t), codeForm(i.code(t, alice, url.Values{"client_id": {"other"}}))); b.RefreshToken != "" {
		t.Error("a client without the grant refresh_token got a refresh token")
	}
}

// TestCodeRefused holds every refusal of a code. The code is as good as before afterwards, with the parameters of a good
// request.
func TestCodeRefused(t *testing.T) {
	const invalid = "invalid_grant"
	unknown := refusal{code: invalid, description: "The authorization code is unknown, spent or expired: begin a new login."}
	for name, test := range map[string]struct {
		begin  url.Values // of the authorization request
		client string     // "" for app
		by     func(t *testing.T, i *issuer, d *device) *device
		change url.Values
		before func(t *testing.T, i *issuer, u storage.User, code string, d *device)
		want   refusal
	}{
		"no proof": {by: func(*testing.T, *issuer, *device) *device { return nil }, want: refusal{err: dpop.ErrNoProof}},
		"no code": {change: url.Values{"code": nil},
			want: refusal{code: "invalid_request", description: "The parameter code is missing."}},
		"unknown":          {change: url.Values{"code": {"AAAA"}}, want: unknown},
		"another client's": {client: "other", want: unknown},
		"another redirect URI": {change: url.Values{"redirect_uri": {callback + "2"}},
			want: refusal{code: invalid, description: "The redirect_uri is not the one of the authorization request."}},
		"no redirect URI": {change: url.Values{"redirect_uri": nil}, want: refusal{code: invalid, description: "The redirect_uri is not"}},
		"a redirect URI, where none was named": {begin: url.Values{"redirect_uri": nil},
			change: url.Values{"redirect_uri": {callback + "2"}},
			want:   refusal{code: invalid, description: "The redirect_uri is not"}},
		"another verifier": {change: url.Values{"code_verifier": {verifier + "x"}},
			want: refusal{code: invalid, description: "The code_verifier is missing or does not fit the code_challenge."}},
		"no verifier": {change: url.Values{"code_verifier": nil}, want: refusal{code: invalid, description: "The code_verifier"}},
		"short verifier": {begin: url.Values{"code_challenge": {challenge("short")}}, change: url.Values{"code_verifier": {"short"}},
			want: refusal{code: invalid, description: "The code_verifier"}},
		"long verifier": {begin: url.Values{"code_challenge": {challenge(strings.Repeat("a", 129))}},
			change: url.Values{"code_verifier": {strings.Repeat("a", 129)}},
			want:   refusal{code: invalid, description: "The code_verifier"}},
		"verifier with a space": {begin: url.Values{"code_challenge": {challenge(strings.Repeat("a b", 20))}},
			change: url.Values{"code_verifier": {strings.Repeat("a b", 20)}},
			want:   refusal{code: invalid, description: "The code_verifier"}},
		"expired": {before: func(t *testing.T, i *issuer, _ storage.User, _ string, _ *device) {
			i.advance(t, time.Minute)
		}, want: unknown},
		"spent, by the same key": {before: func(t *testing.T, i *issuer, _ storage.User, code string, d *device) {
			i.token(t, "app", d, codeForm(code))
		}, want: unknown},
		"another key than dpop_jkt": {by: func(t *testing.T, _ *issuer, _ *device) *device { return newDevice(t) },
			want: refusal{code: invalid,
				description: "The authorization code is bound to another key: send a proof by the key named in dpop_jkt."}},
		"disabled user": {before: func(t *testing.T, i *issuer, u storage.User, _ string, _ *device) {
			i.change(t, u, func(u *storage.User) { u.DisabledAt = i.clock.now() })
		}, want: refusal{code: invalid, description: "The account is disabled."}},
		"another user's key": {before: func(t *testing.T, i *issuer, _ storage.User, _ string, d *device) {
			i.login(t, i.user(t,
				"bob"), d)
		},
			want: refusal{code: invalid,
				description: "The key belongs to another device or to one that was removed: make a new key and log in again."}},
		"a removed device": {before: func(t *testing.T, i *issuer, u storage.User, _ string, d *device) {
			set := claimsOf(t, i.login(t, u, d).AccessToken)
			id, err := set.Identity()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := i.accounts.RemoveDevice(t.Context(), "example.com", id.Device.Device(), "lost"); err != nil {
				t.Fatal(err)
			}
		}, want: refusal{code: invalid, description: "The key belongs to another device"}},
		"too many devices": {before: func(t *testing.T, i *issuer, u storage.User, _ string, _ *device) {
			for range 4 {
				i.login(t, u, newDevice(t))
			}
		}, want: refusal{code: invalid, description: "The user has as many devices as allowed", err: errProofSpent}},
		"a domain that the client lost": {before: func(t *testing.T, i *issuer, _ storage.User, _ string, _ *device) {
			i.register(t, "app", func(c *clients.Client) { c.Domains = []string{"acme.example"} })
		}, want: refusal{code: invalid, description: "The client is no longer registered for the domain of this session."}},
		"a scope that was not granted": {change: url.Values{"scope": {"account"}},
			want: refusal{code: "invalid_scope", description: "The scope 'account' was not granted. These were: im:handle, im:device."}},
		"a scope that the client lost": {before: func(t *testing.T, i *issuer, _ storage.User, _ string, _ *device) {
			i.register(t, "app", func(c *clients.Client) { c.Scopes = []string{"im:handle"} })
		}, want: refusal{code: "invalid_scope", description: "The client is no longer registered for the scope 'im:device'"}},
		"a resource that was not granted": {change: url.Values{"resource": {"https://rooms.example.com"}},
			want: refusal{code: "invalid_target",
				description: "The resource 'https://rooms.example.com' was not granted. These were: im:example.com."}},
		"the user asks too often": {before: func(_ *testing.T, i *issuer, _ storage.User, _ string, _ *device) { i.limits.user = errLimit },
			want: refusal{err: errLimit}},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, true)
			alice, d := i.user(t, "alice"), newDevice(t)
			begin := url.Values{}
			if name == "another key than dpop_jkt" {
				begin.Set("dpop_jkt", d.JKT())
			}
			for name, values := range test.begin {
				begin[name] = values
			}
			code := i.code(t, alice, begin)
			if test.before != nil {
				test.before(t, i, alice, code, d)
			}
			by, client := d, test.client
			if test.by != nil {
				by = test.by(t, i, d)
			}
			if client == "" {
				client = "app"
			}
			r := i.request(t, client, by, with(codeForm(code), test.change))
			if test.want.err == errProofSpent { // refused by the transaction itself, after the proof was spent
				_, err := i.Token(t.Context(), r)
				refusal{code: test.want.code, description: test.want.description}.check(t, err)
				return
			}
			i.refuses(t, r, test.want)
			if test.before == nil && test.begin == nil {
				if err := i.registry.Set(i.clients); err != nil {
					t.Fatal(err)
				}
				i.token(t, "app", d, codeForm(code))
			}
		})
	}
}

var (
	errLimit      = errors.New("asks too often")
	errProofSpent = errors.New("the proof is spent")
)

// TestCodeStolen holds that a code ends its session when it comes again with the right verifier and another key, and that a
// proof that was spent before ends nothing.
func TestCodeStolen(t *testing.T) {
	i := newIssuer(t, true)
	alice, d, thief := i.user(t, "alice"), newDevice(t), newDevice(t)
	code := i.code(t, alice, nil)
	held := i.token(t, "app", d, codeForm(code))

	service := i.request(t, "service", thief, url.Values{"grant_type": {oauth.GrantClientCredentials}})
	if _, err := i.Token(t.Context(), service); err != nil {
		t.Fatal(err)
	}
	again := i.request(t, "app", nil, codeForm(code))
	again.Header.Set("DPoP", service.Header.Get("DPoP"))
	if _, err := i.Token(t.Context(), again); !errors.Is(err, dpop.ErrReplayed) {
		t.Errorf("Token = %v, want that the proof was used before", err)
	}
	held = i.token(t, "app", d, refreshForm(held.RefreshToken))

	_, err := i.Token(t.Context(), i.request(t, "app", thief, codeForm(code)))
	refusal{code: "invalid_grant", description: "The authorization code is unknown, spent or expired"}.check(t, err)
	_, err = i.Token(t.Context(), i.request(t, "app", d, refreshForm(held.RefreshToken)))
	refusal{code: "invalid_grant", description: "its session has ended"}.check(t, err)
	if g, _, _, err := i.store.Session(t.Context(), claimsOf(t, held.AccessToken).SID); err != nil || g.EndedReason != "code_reused" {
		t.Errorf("session = %+v, %v, want it ended: code_reused", g, err)
	}
}

// TestCodeRaced lets requests redeem one code at the same time: one gets tokens. If the others show the same key, its session
// lives; if one shows another key, the session ends.
func TestCodeRaced(t *testing.T) {
	for name, test := range map[string]struct {
		keys  int
		lives bool
	}{"one key": {1, true}, "two keys": {2, false}} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, true)
			alice := i.user(t, "alice")
			devices := []*device{newDevice(t), newDevice(t)}[:test.keys]
			code := i.code(t, alice, nil)
			requests := make([]oauth.TokenRequest, 8)
			for n := range requests {
				requests[n] = i.request(t, "app", devices[n%test.keys], codeForm(code))
			}
			answers := make(chan oauth.TokenAnswer, len(requests))
			errs := make(chan error, len(requests))
			start := make(chan struct{})
			for _, r := range requests {
				go func() {
					<-start
					a, err := i.Token(context.WithoutCancel(t.Context()), r)
					answers <- a
					errs <- err
				}()
			}
			close(start)
			var won []oauth.TokenAnswer
			for range requests {
				a, err := <-answers, <-errs
				if a.AccessToken != "" {
					won = append(won, a)
				}
				if err != nil {
					refusal{code: "invalid_grant", description: "The authorization code"}.check(t, err)
				}
			}
			if len(won) != 1 {
				t.Fatalf("%d requests got tokens, want 1", len(won))
			}
			g, _, _, err := i.store.Session(t.Context(), claimsOf(t, won[0].AccessToken).SID)
			if err != nil || g.EndedAt.IsZero() != test.lives {
				t.Errorf("session = %+v, %v, want it alive: %v", g, err, test.lives)
			}
		})
	}
}

// TestPendingCode holds what the transaction that stores a code refuses, and what the app is told then.
func TestPendingCode(t *testing.T) {
	for name, test := range map[string]struct {
		between func(t *testing.T, i *issuer, u storage.User, c *oauth.PendingCode)
		want    string // error for the app
	}{
		"renamed": {func(t *testing.T, i *issuer, u storage.User, _ *oauth.PendingCode) {
			i.change(t, u, func(u *storage.User) { u.Handle = "alicia" })
		}, "temporarily_unavailable"},
		"disabled": {func(t *testing.T, i *issuer, u storage.User, _ *oauth.PendingCode) {
			i.change(t, u, func(u *storage.User) { u.DisabledAt = i.clock.now() })
		}, "temporarily_unavailable"},
		"everything before ended": {func(t *testing.T, i *issuer, u storage.User, _ *oauth.PendingCode) {
			i.change(t, u, func(u *storage.User) { u.Gen++ })
		}, "temporarily_unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, true)
			u := i.user(t, "alice")
			c := i.pending(t, u, nil)
			test.between(t, i, u, c)
			err := c.Refused(i.store.Update(t.Context(), c.Insert))
			var refused *oauth.AuthorizeError
			if !errors.As(err, &refused) || refused.Err.Code != test.want {
				t.Fatalf("Insert = %v, want %s", err, test.want)
			}
			to, err := url.Parse(refused.Location)
			if err != nil || to.Query().Get("error") != test.want || to.Query().Get("state") != "a state" ||
				to.Query().Get("iss") != issuerURL {
				t.Errorf("Location = %s, want the error, the state and the issuer", refused.Location)
			}
		})
	}
	i := newIssuer(t, true)
	c := i.pending(t, i.user(t, "alice"), nil)
	if err := i.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		if err := c.Insert(ctx, tx); err != nil {
			return err
		}
		return errLimit
	}); !errors.Is(c.Refused(err), errLimit) {
		t.Errorf("Refused = %v, want an error of the caller's as it is", err)
	}
	to, _ := url.Parse(c.Location())
	_, err := i.Token(t.Context(), i.request(t, "app", newDevice(t), codeForm(to.Query().Get("code"))))
	refusal{code: "invalid_grant", description: "unknown"}.check(t, err)
}
