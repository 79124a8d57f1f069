package main

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/client"
)

const readAgain = `msg="settings read again"`

// reloads writes the settings file anew and tells the issuer, and waits until it has taken the file up.
func (v *victim) reloads(t *testing.T, text string) {
	t.Helper()
	n := strings.Count(v.log(t), readAgain)
	v.hup(t, text)
	v.logs(t, readAgain, n+1)
}

func (v *victim) hup(t *testing.T, text string) {
	t.Helper()
	replace(t, filepath.Join(v.folder, "issuer.yaml"), []byte(text))
	if err := v.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// withoutServices returns the settings of a victim whose only client is the app.
func withoutServices(t *testing.T, v *victim) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(v.folder, "issuer.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	rest, _, _ := strings.Cut(string(text), "clients:\n")
	return rest + `clients:
  - id: im-app
    auth: none
    first_party: true
    redirect_uris: ["http://127.0.0.1/callback"]
    grants: [authorization_code, refresh_token]
    domains: [example.com]
`
}

// service is the entry of a service that introspects, with its secret.
func service(id, secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return fmt.Sprintf("  - {id: %s, auth: secret, secret_sha256: %s, grants: [client_credentials], scopes: [introspect, \"introspect:domain\"], domains: [example.com]}\n",
		id, hex.EncodeToString(sum[:]))
}

// asks whether a token is active, as a service.
func asks(v *victim, id, secret, token string) (bool, error) {
	answer, err := answerTo(v, id, secret, token)
	return answer.Active, err
}

// TestReload changes the settings again and again while people log in, refresh and are asked about: no request fails, and
// each change holds from then on.
func TestReload(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	settings := withoutServices(t, v) + service("rooms", "s3cret")
	replace(t, filepath.Join(v.folder, "issuer.yaml"), []byte(settings))
	v.start(t)

	done := make(chan struct{})
	var working sync.WaitGroup
	var answered atomic.Int64
	work := func(do func() error) {
		working.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := do(); err != nil {
					t.Errorf("%v", err)
					return
				}
				answered.Add(1)
			}
		})
	}
	first := newSession(t, v, person(0))
	for i := range 3 {
		app, err := newApp(v.issuer)
		if err != nil {
			t.Fatal(err)
		}
		refresh := ""
		work(func() error {
			var tokens client.Tokens
			var err error
			if refresh == "" {
				tokens, err = app.login(person(i))
			} else {
				tokens, err = app.Refresh(t.Context(), refresh)
			}
			refresh = tokens.RefreshToken
			return err
		})
	}
	work(func() error {
		active, err := asks(v, "rooms", "s3cret", first.tokens.AccessToken)
		if err == nil && !active {
			err = errors.New("a token is inactive that nobody ended")
		}
		return err
	})

	for i := range 12 {
		id, secret := fmt.Sprintf("service-%d", i), fmt.Sprintf("secret-%d", i)
		before := answered.Load()
		v.reloads(t, fmt.Sprintf("limits: {devices_per_user: %d}\n", 10+i)+settings+service(id, secret))
		if active, err := asks(v, id, secret, first.tokens.AccessToken); err != nil || !active {
			t.Errorf("introspection by a new client = %t, %v, want true", active, err)
		}
		if i > 0 {
			_, err := asks(v, fmt.Sprintf("service-%d", i-1), fmt.Sprintf("secret-%d", i-1), first.tokens.AccessToken)
			wantCode(t, "a client that is gone", err, "invalid_client")
		}
		for answered.Load() < before+10 && !t.Failed() {
			time.Sleep(time.Millisecond)
		}
	}
	close(done)
	working.Wait()

	// The limit that came last is the one that holds: she has two devices already.
	v.reloads(t, "limits: {devices_per_user: 1}\n"+settings)
	app, err := newApp(v.issuer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = app.login(person(0)); err == nil || !strings.Contains(err.Error(), "Device limit reached") {
		t.Errorf("one device too many = %v, want the page about the limit", err)
	}
	v.reloads(t, settings)
	if _, err := app.login(person(0)); err != nil {
		t.Errorf("login = %v, want tokens", err)
	}
	v.stop(t)
}

// TestReloadRefused holds that a file with faults changes nothing, that each fault is logged where it stands, and that
// what needs a restart is named and waits for it.
func TestReloadRefused(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	settings := withoutServices(t, v)
	replace(t, filepath.Join(v.folder, "issuer.yaml"), []byte(settings))
	v.start(t)
	session := newSession(t, v, person(0))
	const kept = `msg="settings not read again: the previous settings stay in effect"`

	for n, bad := range []string{
		"isuer: x\n" + strings.Replace(settings, "auth: none", "auth: password", 1) + service("rooms", "s3cret"),
		strings.Replace(settings, "development: true\n", "", 1) + service("rooms", "s3cret"),
		settings + "  - {id: elsewhere, auth: none, grants: [refresh_token], domains: [example.org]}\n",
		"{",
		"",
	} {
		v.hup(t, bad)
		v.logs(t, kept, n+1)
		if _, err := asks(v, "rooms", "s3cret", session.tokens.AccessToken); code(err) != "invalid_client" {
			t.Errorf("introspection by a client of bad settings = %v, want invalid_client", err)
		}
	}
	for _, fault := range []string{
		`:1: isuer: unknown key`, `: clients[0].auth: \"password\" is not a value`, `:2: issuer: `,
		`: clients[1].domains[0]: \"example.org\" is not among`, `:2: not YAML`, `:1: issuer: is required`,
	} {
		line := regexp.QuoteMeta(`level=ERROR msg=settings error="`+filepath.Join(v.folder, "issuer.yaml")) + `(:\d+)?` + regexp.QuoteMeta(fault)
		if !regexp.MustCompile(line).MatchString(v.log(t)) {
			t.Errorf("the log lacks %q:\n%s", fault, v.log(t))
		}
	}
	session.refresh(t)

	// An id that storage has is not the settings' to take, also when its client was removed.
	admin := client.Socket(v.admin)
	bots := map[string]any{"id": "bots", "auth": "secret", "domains": []string{"example.com"}}
	if err := admin.Send(t.Context(), http.MethodPost, "/admin/clients", bots, nil); err != nil {
		t.Fatal(err)
	}
	v.hup(t, settings+service("bots", "s3cret")+service("rooms", "s3cret"))
	v.logs(t, `clients[1].id: \"bots\" is kept in storage already`, 1)
	v.logs(t, kept, 6)
	if err := admin.Do(t.Context(), http.MethodDelete, "/admin/clients", url.Values{"id": {"bots"}}, nil); err != nil {
		t.Fatal(err)
	}
	v.hup(t, settings+service("bots", "s3cret")+service("rooms", "s3cret"))
	v.logs(t, `clients[1].id: \"bots\" was removed on `, 1)
	v.logs(t, kept, 7)
	for _, id := range []string{"bots", "rooms"} {
		if _, err := asks(v, id, "s3cret", session.tokens.AccessToken); code(err) != "invalid_client" {
			t.Errorf("introspection by %s = %v, want invalid_client", id, err)
		}
	}

	// A whole other issuer, but for what can be taken up.
	v.reloads(t, strings.NewReplacer("issuer: http", "lifetimes: {access: 5m}\nissuer: http", "listen: 127", "log: {level: debug}\nlisten: 127",
		"name: example.com", "name: example.com\n    protected: [acme]").Replace(settings)+service("rooms", "s3cret"))
	for _, key := range []string{"lifetimes.access", "log.level", "domains[0].protected"} {
		if !strings.Contains(v.log(t), `level=WARN msg="setting needs a restart: it is left as it was" key=`+key+"\n") {
			t.Errorf("the log does not name %s:\n%s", key, v.log(t))
		}
	}
	if active, err := asks(v, "rooms", "s3cret", session.tokens.AccessToken); err != nil || !active {
		t.Errorf("introspection = %t, %v, want true", active, err)
	}
	session.refresh(t)
	if session.tokens.ExpiresIn <= 300 {
		t.Errorf("expires_in = %d, want about 600 as before", session.tokens.ExpiresIn)
	}

	// What goes with it waits for the restart too.
	v.hup(t, strings.Replace(settings, "clients:", "  - {name: example.org, providers: [{id: other, issuer: \"http://127.0.0.1:1\", client_id: x}]}\nclients:", 1)+
		"  - {id: elsewhere, auth: none, first_party: true, redirect_uris: [\"http://127.0.0.1/cb\"], grants: [authorization_code], domains: [example.org]}\n")
	v.logs(t, kept, 8)
	if !strings.Contains(v.log(t), `clients[1].domains[0]: \"example.org\" is not served before a restart`) {
		t.Errorf("the log does not say that a domain is not served:\n%s", v.log(t))
	}
	v.end(t)
}

// TestReloadCertificate holds that the signal takes up the certificate at once.
func TestReloadCertificate(t *testing.T) {
	t.Parallel()
	v, a := newCertified(t)
	v.start(t)
	for range 5 {
		serial := a.renew(t, v.folder)
		v.reloads(t, certified)
		if got, _, err := ready(a.client(v, &tls.Config{})); err != nil || got != serial {
			t.Errorf("certificate %d, %v, want %d", got, err, serial)
		}
	}
	v.stop(t)
}

// A held session is a device and the tokens that it has.
type held struct {
	app    *app
	tokens client.Tokens
}

func newSession(t *testing.T, v *victim, person string) *held {
	t.Helper()
	app, err := newApp(v.issuer)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := app.login(person)
	if err != nil {
		t.Fatal(err)
	}
	return &held{app, tokens}
}

func (h *held) refresh(t *testing.T) {
	t.Helper()
	tokens, err := h.app.Refresh(t.Context(), h.tokens.RefreshToken)
	if err != nil {
		t.Fatalf("refresh = %v, want tokens", err)
	}
	h.tokens = tokens
}
