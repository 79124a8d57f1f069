package server_test

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/issuer"
	"github.com/imidentity/issuer/storage/postgres/postgrestest"
)

// onPostgres returns the fill of a site whose database is a new one on a PostgreSQL server of its own.
func onPostgres(t *testing.T) map[string]string {
	t.Helper()
	server, err := postgrestest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte(server.URL("postgres")), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := issuer.Migrate(t.Context(), &config.Config{StorageURL: config.Secret(server.URL("postgres"))}); err != nil {
		t.Fatal(err)
	}
	return map[string]string{"replay": "storage", "more": "storage: postgres\nstorage_url_file: " + file}
}

// balance starts further nodes on the database of a site. From then on each request goes to the next node, as behind a balancer. It
// returns the nodes, and the site's own first.
func (s *site) balance(t *testing.T, further int) []*issuer.Instance {
	t.Helper()
	nodes, addresses := []*issuer.Instance{s.instance}, []string{s.issuer[len("http://"):]}
	for range further {
		public, admin := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
		node, err := issuer.Open(t.Context(), settings(t, s.fill), issuer.Options{
			Log: slog.New(slog.NewTextHandler(s.witness, &slog.HandlerOptions{Level: slog.LevelDebug})),
			Now: s.clock.now, Elapsed: s.clock.elapsed, SweepEvery: 50 * time.Millisecond, NoteEvery: 50 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- node.Serve(ctx, issuer.Listeners{Public: public, Admin: admin}) }()
		t.Cleanup(func() {
			s.transport.CloseIdleConnections()
			stop()
			if err := <-ended; err != nil {
				t.Errorf("Serve = %v, want nil", err)
			}
		})
		nodes, addresses = append(nodes, node), append(addresses, public.Addr().String())
	}
	var turn atomic.Int64
	s.transport.CloseIdleConnections()
	s.transport.DisableKeepAlives = true
	s.transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == addresses[0] {
			address = addresses[turn.Add(1)%int64(len(addresses))]
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	return nodes
}

// A keeper is a device that holds its refresh token and the last nonce that it was given, as a client does.
type keeper struct {
	*device
	held  tokens
	nonce string
}

func (k *keeper) refresh(t *testing.T, s *site) answer {
	t.Helper()
	form, header := maps.Clone(refreshForm(k.held.refresh)), http.Header{}
	app.authenticate(form, header)
	header.Set("DPoP", s.proof(t, k.device, k.nonce))
	a := s.post(t, "/token", form, header)
	k.nonce = cmp.Or(a.header.Get("DPoP-Nonce"), k.nonce)
	return a
}

// TestClusterSecretRotationUnderLoad rotates the cluster secret while devices refresh, with nonces that are required: no request is
// refused, also not for its nonce.
func TestClusterSecretRotationUnderLoad(t *testing.T) {
	for name, test := range map[string]struct {
		fill    func(t *testing.T) map[string]string
		further int
	}{
		"one node on SQLite":      {func(*testing.T) map[string]string { return nil }, 0},
		"two nodes on PostgreSQL": {onPostgres, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, test.fill(t))
			s.freeze(t)
			s.balance(t, test.further)
			const devices = 4
			const perMinute = 50 // refreshes of a device: no limit on requests is reached while the clock stands still
			var refreshes [devices]atomic.Int64
			var allowed atomic.Int64
			var working sync.WaitGroup
			ctx, stop := context.WithCancel(t.Context())
			defer func() { stop(); working.Wait() }()
			for i := range devices {
				k := &keeper{device: newDevice(t)}
				k.held = s.login(t, k.device, "alice")
				k.nonce = s.nonce(t)
				working.Go(func() {
					for ctx.Err() == nil {
						if refreshes[i].Load() >= allowed.Load() {
							time.Sleep(time.Millisecond)
							continue
						}
						a := k.refresh(t, s)
						if a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") != "" {
							time.Sleep(5 * time.Millisecond)
							continue // the clock has moved on since the keys were read
						}
						if a.status != http.StatusOK {
							t.Errorf("refresh = %v, want 200", a)
							return
						}
						k.held = wantTokens(t, a)
						refreshes[i].Add(1)
					}
				})
			}
			// pass lets every device refresh a few times, and then a minute go by.
			pass := func() {
				t.Helper()
				most := int64(0)
				for i := range refreshes {
					most = max(most, refreshes[i].Load())
				}
				allowed.Store(most + perMinute)
				for i := range refreshes {
					for n, before := 0, refreshes[i].Load(); refreshes[i].Load() < before+2; n++ {
						if n > 20000 || t.Failed() {
							t.Fatal("a device does not refresh any more")
						}
						time.Sleep(time.Millisecond)
					}
				}
				s.advance(t, time.Minute)
			}
			pass()
			a := s.operate(t, http.MethodPost, "/admin/cluster-secrets", nil)
			if wantStatus(t, a, http.StatusOK); a.text("state") != "published" {
				t.Errorf("rotation = %v, want a published secret", a)
			}
			for range 12 { // the new secret is used after ten minutes
				pass()
			}
			list := s.get(t, s.admin+"/admin/cluster-secrets").body
			var secrets []object
			decode(t, []byte(list), &secrets)
			if len(secrets) != 2 || secrets[0]["state"] != "retired" || secrets[1]["state"] != "current" || secrets[1]["id"] != a.text("id") {
				t.Errorf("secrets = %v, want that the new one is used", secrets)
			}
			for range 9 { // nonces of the old one end eight minutes later
				pass()
			}
			again := s.operate(t, http.MethodPost, "/admin/cluster-secrets", nil)
			wantError(t, again, http.StatusConflict, "cluster_secret_rotating")
		})
	}
}

// TestLeakedClusterSecret holds that nothing made with a leaked secret is accepted, on any node, and what is stored still works.
func TestLeakedClusterSecret(t *testing.T) {
	s := start(t, onPostgres(t))
	s.freeze(t)
	s.balance(t, 1)
	d := newDevice(t)
	held, nonce := s.login(t, d, "alice"), s.nonce(t)
	wantStatus(t, s.operate(t, http.MethodPost, "/admin/cluster-secrets", url.Values{"leaked": {"yes"}}), http.StatusBadRequest)
	if a := s.operate(t, http.MethodPost, "/admin/cluster-secrets", url.Values{"leaked": {"true"}}); a.text("state") != "current" {
		t.Fatalf("rotation = %v, want a secret that is used", a)
	}
	form, header := refreshForm(held.refresh), http.Header{}
	app.authenticate(form, header)
	refused := 0
	for n := 0; refused < 4; n++ { // the other node reads it within a second
		if n > 2000 {
			t.Fatal("a nonce made with a secret that has leaked is accepted")
		}
		header.Set("DPoP", s.proof(t, d, nonce))
		if a := s.post(t, "/token", form, header); a.text("error") == "use_dpop_nonce" {
			refused++
		} else {
			refused = 0
		}
		time.Sleep(time.Millisecond)
	}
	for range 4 {
		wantError(t, s.token(t, app, d, form), http.StatusBadRequest, "invalid_grant")
	}
	again := s.login(t, d, "alice")
	for range 4 {
		again = s.refreshed(t, d, again.refresh)
	}
	if a, b := deviceOf(t, held), deviceOf(t, again); a != b {
		t.Errorf("the device is %s, want %s as before", b, a)
	}
}

// TestOldValuesOutliveARotation holds that what was made before a new secret is used works after that: a user code that waits, a cursor of
// the feed, a stored answer and the successor of a refresh token whose answer was lost.
func TestOldValuesOutliveARotation(t *testing.T) {
	s := start(t, nil)
	s.freeze(t)
	phone, screen := newDevice(t), newDevice(t)
	account, held := s.account(t, phone, "alice"), s.login(t, phone, "alice")
	keyed := func() answer { return s.keyed(t, `"before"`, http.MethodPost, "/admin/keys?now=true", "") }
	first := keyed()
	wantStatus(t, first, http.StatusOK)
	cursor := s.events(t, follower, nil).Cursor
	wantStatus(t, s.operate(t, http.MethodPost, "/admin/cluster-secrets", nil), http.StatusOK)
	s.advance(t, 5*time.Minute)
	code, shown := s.askedDevice(t, screen)
	lost := s.refreshed(t, phone, held.refresh)
	for range 5 {
		s.advance(t, time.Minute)
	}
	again := s.refreshed(t, phone, held.refresh)
	if again.refresh == lost.refresh {
		t.Error("the refresh token is still made with the old secret")
	}
	s.refreshed(t, phone, lost.refresh)
	own := s.forIssuer(t, phone, account, "account").access
	wantStatus(t, s.showWaiting(t, phone, own, shown), http.StatusOK)
	wantError(t, s.token(t, tv, screen, pollForm(code)), http.StatusBadRequest, "authorization_pending")
	if page := s.events(t, follower, url.Values{"cursor": {cursor}}); page.Cursor == "" {
		t.Errorf("page = %+v, want one from the cursor on", page)
	}
	if a := keyed(); a.body != first.body {
		t.Errorf("the request again = %v, want the answer of before", a)
	}
}
