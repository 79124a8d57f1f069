package server_test

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/storage"
)

// TestMetrics holds that what operators watch is counted, on the admin listener alone, and that nothing there is of a
// client's choosing.
func TestMetrics(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	proof, err := d.Proof(dpop.ProofParams{
		Method: http.MethodPost, URL: s.issuer + "/token", Nonce: s.nonce(t), IssuedAt: s.clock.now().Add(48 * time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	form := refreshForm(held.refresh)
	form.Set("client_id", app.id)
	a := s.post(t, "/token", form, http.Header{"Dpop": {proof}})
	wantError(t, a, http.StatusBadRequest, "invalid_dpop_proof")
	if now, ok := a.json["server_time"].(float64); !ok || now < float64(s.clock.now().Add(-time.Minute).Unix()) {
		t.Errorf("server_time = %v, want the server's time", a.json["server_time"])
	}
	if !strings.Contains(a.text("error_description"), "ahead of the server") {
		t.Errorf("error_description = %q, want the offset in words", a.text("error_description"))
	}
	wantError(t, s.post(t, "/token", form, http.Header{"Dpop": {proof}, "X-Secret": {"x"}}), http.StatusBadRequest, "invalid_dpop_proof")
	s.send(t, s.http, s.request(t, "SECRETMETHOD", "/token", ""))
	s.get(t, "/secret-path")

	text := s.get(t, s.admin+"/metrics").body
	for _, want := range []string{
		`issuer_requests_total\{method="POST",route="/token",status="200"\} 1`,
		`issuer_requests_total\{method="POST",route="/token",status="400"\} 2`,
		`issuer_requests_total\{method="other",route="/token",status="405"\} 1`,
		`issuer_requests_total\{method="GET",route="none",status="404"\} 1`,
		`issuer_proofs_refused_total\{part="iat"\} 2`,
		`issuer_clock_offset_seconds_count 3`,
		`issuer_clock_offset_seconds_bucket\{le="86400"\} 1`,
		`issuer_request_seconds_count\{route="/token"\} 4`,
	} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("metrics without %s", want)
		}
	}
	for _, secret := range []string{"SECRETMETHOD", "secret-path"} {
		if strings.Contains(text, secret) {
			t.Errorf("metrics hold %q", secret)
		}
	}
	if a := s.get(t, "/metrics"); a.status != http.StatusNotFound {
		t.Errorf("GET /metrics in public = %v, want 404", a)
	}
}

var series = regexp.MustCompile(`(?m)^(issuer_\S+) (\S+)$`)

// metrics returns the value of each series, by its name with its labels.
func (s *site) metrics(t *testing.T) map[string]float64 {
	t.Helper()
	values := make(map[string]float64)
	for _, m := range series.FindAllStringSubmatch(s.get(t, s.admin+"/metrics").body, -1) {
		value, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		values[m[1]] = value
	}
	return values
}

// wantCounted wants each series of want to exist before, to grow by what it says when what is done, and no other of the
// same metrics to grow.
func (s *site) wantCounted(t *testing.T, what func(), want map[string]float64) {
	t.Helper()
	before := s.metrics(t)
	what()
	after := s.metrics(t)
	names := make(map[string]bool)
	for key, n := range want {
		name, _, _ := strings.Cut(key, "{")
		names[name] = true
		if _, ok := before[key]; !ok {
			t.Errorf("%s is not there before it is counted", key)
		}
		if got := after[key] - before[key]; got != n {
			t.Errorf("%s grew by %v, want %v", key, got, n)
		}
	}
	for key, value := range after {
		name, _, _ := strings.Cut(key, "{")
		if _, wanted := want[key]; names[name] && !wanted && value != before[key] {
			t.Errorf("%s grew by %v, want 0", key, value-before[key])
		}
	}
}

// TestCounters drives what counters count.
func TestCounters(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	post := func(proof string) answer {
		form := url.Values{"grant_type": {"client_credentials"}}
		header := http.Header{"Dpop": {proof}}
		peer.authenticate(form, header)
		return s.post(t, "/token", form, header)
	}
	proof := func(p dpop.ProofParams) string {
		t.Helper()
		made, err := d.Proof(p)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	tokenURL := s.issuer + "/token"
	for _, test := range []struct {
		name string
		what func(t *testing.T)
		want map[string]float64
	}{
		{"nonce retry", func(t *testing.T) {
			wantError(t, post(proof(dpop.ProofParams{Method: "POST", URL: tokenURL})), http.StatusBadRequest, "use_dpop_nonce")
		}, map[string]float64{`issuer_nonce_retries_total`: 1, `issuer_proofs_refused_total{part="nonce"}`: 0}},
		{"replay", func(t *testing.T) {
			p := s.proof(t, d, "")
			post(p)
			wantError(t, post(p), http.StatusBadRequest, "invalid_dpop_proof")
		}, map[string]float64{`issuer_proofs_replayed_total`: 1, `issuer_proofs_refused_total{part="jti"}`: 0}},
		{"another URL", func(t *testing.T) {
			wantError(t, post(proof(dpop.ProofParams{Method: "POST", URL: s.issuer + "/par", Nonce: s.nonce(t)})), http.StatusBadRequest, "invalid_dpop_proof")
		}, map[string]float64{`issuer_proofs_refused_total{part="htu"}`: 1, `issuer_clock_offset_seconds_count`: 0}},
		{"nonsense", func(t *testing.T) {
			wantError(t, post("nonsense"), http.StatusBadRequest, "invalid_dpop_proof")
		}, map[string]float64{`issuer_proofs_refused_total{part="form"}`: 1}},
		{"clock behind", func(t *testing.T) {
			at := s.clock.now().Add(-10 * time.Minute)
			if a := post(proof(dpop.ProofParams{Method: "POST", URL: tokenURL, Nonce: s.nonce(t), IssuedAt: at})); a.status != http.StatusOK {
				t.Errorf("answer = %v, want a token: the nonce bounds the proof", a)
			}
		}, map[string]float64{`issuer_clock_offset_seconds_bucket{le="-300"}`: 1, `issuer_clock_offset_seconds_bucket{le="-3600"}`: 0,
			`issuer_clock_offset_seconds_bucket{le="-60"}`: 1, `issuer_clock_offset_seconds_bucket{le="-15"}`: 1,
			`issuer_clock_offset_seconds_bucket{le="-5"}`: 1, `issuer_clock_offset_seconds_bucket{le="-2"}`: 1,
			`issuer_clock_offset_seconds_bucket{le="0"}`: 1, `issuer_clock_offset_seconds_bucket{le="2"}`: 1,
			`issuer_clock_offset_seconds_bucket{le="5"}`: 1, `issuer_clock_offset_seconds_bucket{le="15"}`: 1,
			`issuer_clock_offset_seconds_bucket{le="60"}`: 1, `issuer_clock_offset_seconds_bucket{le="300"}`: 1,
			`issuer_clock_offset_seconds_bucket{le="3600"}`: 1, `issuer_clock_offset_seconds_bucket{le="86400"}`: 1,
			`issuer_clock_offset_seconds_bucket{le="+Inf"}`: 1, `issuer_clock_offset_seconds_count`: 1}},
		{"code", func(t *testing.T) { s.login(t, newDevice(t), "bob") },
			map[string]float64{`issuer_tokens_issued_total{grant="authorization_code",type="DPoP"}`: 1}},
		{"refresh", func(t *testing.T) { held = s.refreshed(t, d, held.refresh) },
			map[string]float64{`issuer_tokens_issued_total{grant="refresh_token",type="DPoP"}`: 1}},
		{"refused refresh", func(t *testing.T) {
			wantError(t, s.token(t, app, d, refreshForm("nonsense")), http.StatusBadRequest, "invalid_grant")
		}, map[string]float64{`issuer_tokens_issued_total{grant="refresh_token",type="DPoP"}`: 0}},
		{"service", func(t *testing.T) { s.service(t, peer, d, nil) },
			map[string]float64{`issuer_tokens_issued_total{grant="client_credentials",type="DPoP"}`: 1}},
		{"service without a key", func(t *testing.T) { s.service(t, mute, nil, nil) },
			map[string]float64{`issuer_tokens_issued_total{grant="client_credentials",type="Bearer"}`: 1}},
		{"active", func(t *testing.T) { s.wantActive(t, held.access) },
			map[string]float64{`issuer_introspections_total{result="active"}`: 1}},
		{"inactive", func(t *testing.T) { s.wantInactive(t, "nonsense") },
			map[string]float64{`issuer_introspections_total{result="inactive"}`: 1}},
		{"revocation of a token", func(t *testing.T) { s.revokeBy(t, app, d, held.access) },
			map[string]float64{`issuer_revocations_total{kind="jti"}`: 1, `issuer_revocations_live`: 1}},
		{"revocation of a session", func(t *testing.T) { s.revoke(t, app, held.refresh) },
			map[string]float64{`issuer_revocations_total{kind="sid"}`: 1, `issuer_revocations_live`: 1}},
	} {
		t.Run(test.name, func(t *testing.T) { s.wantCounted(t, func() { test.what(t) }, test.want) })
	}
	t.Run("device", func(t *testing.T) {
		before := s.metrics(t)
		s.remove(t, s.login(t, newDevice(t), "bob").set.Device)
		after := s.metrics(t)
		if key := `issuer_revocations_total{kind="device"}`; after[key] != before[key]+1 {
			t.Errorf("%s grew by %v, want 1", key, after[key]-before[key])
		}
	})
}

// TestLoginsAreCounted holds that each login is counted once, when it ends, by how it ended.
func TestLoginsAreCounted(t *testing.T) {
	s := start(t, nil)
	s.login(t, newDevice(t), "alice")
	const web = "https://app.example.com/callback?from=issuer" // where nobody is asked for consent
	counted := func(outcome string, n float64) map[string]float64 {
		return map[string]float64{`issuer_logins_total{outcome="` + outcome + `",provider="dev"}`: n}
	}
	for _, test := range []struct {
		name    string
		tamper  tampering
		what    func(t *testing.T)
		outcome string
		n       float64
	}{
		{"allowed", tampering{}, func(t *testing.T) { s.code(t, "alice", nil) }, "done", 1},
		{"not asked", tampering{}, func(t *testing.T) {
			v := s.visit(t, "alice", url.Values{"redirect_uri": {web}})
			if a := s.arrive(t, v.browser, v.callback); a.status != http.StatusSeeOther || !strings.Contains(a.header.Get("Location"), "code=") {
				t.Errorf("answer = %v, want a code", a)
			}
		}, "done", 1},
		{"not decided", tampering{}, func(t *testing.T) { s.consented(t, "alice", nil) }, "done", 0},
		{"denied", tampering{}, func(t *testing.T) {
			b, _, state := s.consented(t, "alice", nil)
			s.wantRedirect(t, s.decide(t, b, state, "deny"), redirectURI, appState, "access_denied")
		}, "refused", 1},
		{"refused by the provider", tampering{callback: func(q url.Values) { q.Del("code"); q.Set("error", "access_denied") }}, func(t *testing.T) {
			v := s.visit(t, "alice", nil)
			s.wantRedirect(t, s.arrive(t, v.browser, v.callback), redirectURI, appState, "access_denied")
		}, "refused", 1},
		{"not believed", tampering{idToken: func(_, claims object) { claims["nonce"] = "another" }}, func(t *testing.T) {
			v := s.visit(t, "alice", nil)
			wantPage(t, s.arrive(t, v.browser, v.callback), http.StatusBadGateway)
		}, "not_believed", 1},
		{"not accepted", tampering{idToken: func(_, claims object) { claims["sub"] = "another" }, userinfo: func(claims object) { claims["sub"] = "another" }}, func(t *testing.T) {
			v := s.visit(t, "alice", nil) // her handle is taken, by herself under another sub
			wantPage(t, s.arrive(t, v.browser, v.callback), http.StatusConflict)
		}, "not_accepted", 1},
		{"unavailable", tampering{}, func(t *testing.T) {
			v := s.visit(t, "alice", nil)
			s.provider.tamper(t, tampering{answer: down})
			wantPage(t, s.arrive(t, v.browser, v.callback), http.StatusServiceUnavailable)
		}, "unavailable", 1},
		{"of no login", tampering{}, func(t *testing.T) {
			wantPage(t, s.get(t, "/login/callback/dev?state=x&code=y"), http.StatusBadRequest)
			wantPage(t, s.get(t, "/login/callback/invented?state=x&code=y"), http.StatusBadRequest)
		}, "not_believed", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.provider.tamper(t, test.tamper)
			s.wantCounted(t, func() { test.what(t) }, counted(test.outcome, test.n))
		})
	}
}

// TestLimitsAreCounted holds that a request that is one too many is counted by what it is too many of.
func TestLimitsAreCounted(t *testing.T) {
	counted := func(by string) map[string]float64 {
		return map[string]float64{`issuer_requests_limited_total{by="` + by + `"}`: 1}
	}
	t.Run("all but proofs", func(t *testing.T) {
		s := start(t, limits("20/1h", "9/1h", "3/1h"))
		d := newDevice(t)
		held := s.login(t, d, "alice")
		held = s.refreshed(t, d, s.refreshed(t, d, held.refresh).refresh)
		s.wantCounted(t, func() { wantLimited(t, s.token(t, app, d, refreshForm(held.refresh)), false) }, counted("user"))
		for range 9 {
			s.tokenFrom(t, "192.0.2.1", app, d, refreshForm("nonsense"))
		}
		s.wantCounted(t, func() { wantLimited(t, s.tokenFrom(t, "192.0.2.1", app, d, refreshForm("nonsense")), false) }, counted("client"))
		for range 10 {
			s.post(t, "/token", nil, from("192.0.2.1"))
		}
		s.wantCounted(t, func() { wantLimited(t, s.post(t, "/token", nil, from("192.0.2.1")), false) }, counted("address"))
		for range 20 {
			s.post(t, "/introspect", nil, from("192.0.2.1"))
		}
		s.wantCounted(t, func() { wantLimited(t, s.post(t, "/introspect", nil, from("192.0.2.1")), false) }, counted("failures"))
	})
	t.Run("proofs", func(t *testing.T) {
		s := start(t, map[string]string{"proofs": "1000"})
		d := newDevice(t)
		before := s.metrics(t)
		if before["issuer_replay_capacity"] != 1000 {
			t.Errorf("issuer_replay_capacity = %v, want 1000", before["issuer_replay_capacity"])
		}
		var a answer
		n := 0
		for ; n < 1000 && a.status != http.StatusTooManyRequests; n++ {
			a = s.push(t, d, nil)
		}
		after := s.metrics(t)
		if key := `issuer_requests_limited_total{by="proofs"}`; after[key] != 1 {
			t.Errorf("%s = %v after %v, want 1", key, after[key], a)
		}
		if got := after["issuer_replay_proofs"]; got != float64(n-1) {
			t.Errorf("issuer_replay_proofs = %v, want %d", got, n-1)
		}
	})
}

// TestStoreIsMeasured holds that operators see how long the database takes, and who waits for it.
func TestStoreIsMeasured(t *testing.T) {
	s := start(t, stored) // so that a refresh reads before it updates
	d := newDevice(t)
	held := s.login(t, d, "alice")
	// The issuer asks the database by itself, too, now and then: so at least one of each.
	start := s.metrics(t)
	s.refreshed(t, d, held.refresh)
	end := s.metrics(t)
	for _, key := range []string{
		`issuer_store_seconds_count{operation="read"}`, `issuer_store_seconds_count{operation="update"}`,
		`issuer_store_batch_updates_count`, `issuer_store_batch_updates_sum`,
	} {
		if end[key] < start[key]+1 {
			t.Errorf("%s grew by %v, want at least 1", key, end[key]-start[key])
		}
	}

	// While one update holds the transaction, three more wait; then these share one.
	entered, leave, ended := make(chan bool), make(chan bool), make(chan error, 4)
	update := func(fn func()) {
		ended <- s.store.Update(context.Background(), func(context.Context, storage.Tx) error {
			fn()
			return nil
		})
	}
	go update(func() { close(entered); <-leave })
	<-entered
	for range 3 {
		go update(func() {})
	}
	waiting := 0.0
	for range 1000 {
		if waiting = s.metrics(t)["issuer_store_waiting_updates"]; waiting >= 3 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if waiting < 3 {
		t.Errorf("issuer_store_waiting_updates = %v, want 3 at least", waiting)
	}
	before := s.metrics(t)
	close(leave)
	for range cap(ended) {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	after := s.metrics(t)
	if n := after["issuer_store_batch_updates_sum"] - before["issuer_store_batch_updates_sum"]; n < 4 || after["issuer_store_waiting_updates"] != 0 {
		t.Errorf("%v updates were counted and %v wait, want 4 at least and 0", n, after["issuer_store_waiting_updates"])
	}
	small, all := `issuer_store_batch_updates_bucket{le="2"}`, `issuer_store_batch_updates_count`
	if after[all]-before[all] <= after[small]-before[small] {
		t.Errorf("no transaction of more than two updates was counted, want one of all four")
	}

	s.faults.set("Revocations")
	s.clock.advance(time.Minute)
	if age := s.metrics(t)["issuer_revocations_age_seconds"]; age < 60 || age > 90 {
		t.Errorf("issuer_revocations_age_seconds = %v a minute after the last read, want 60", age)
	}
	s.faults.set("")
	s.waitReady(t)
	if age := s.metrics(t)["issuer_revocations_age_seconds"]; age > 30 {
		t.Errorf("issuer_revocations_age_seconds = %v, want next to nothing", age)
	}
}

var (
	servedType  = regexp.MustCompile(`(?m)^# TYPE (issuer_\w+) (\w+)$`)
	servedLabel = regexp.MustCompile(`(\w+)="`)
	metricRow   = regexp.MustCompile("(?m)^\\| `(issuer_\\w+)` \\| (\\w+) \\| ([^|]*) \\| [^|]+ \\|$")
)

// TestMonitor holds that the listener for monitoring serves the health checks and the metrics, and nothing else.
func TestMonitor(t *testing.T) {
	s := start(t, map[string]string{"metrics": "127.0.0.1:0", "background": "fast"})
	monitor := "http://" + s.fill["metrics"]
	s.login(t, newDevice(t), "alice")
	s.login(t, newDevice(t), "bob")
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ready"} {
		if a := s.get(t, monitor+path); a.status != http.StatusOK || a.text("status") != want {
			t.Errorf("GET %s = %v, want %s", path, a, want)
		}
	}
	var text string
	counted := regexp.MustCompile(`(?m)^issuer_devices 2$(?s:.*)^issuer_sessions 2$`)
	for range 1000 { // it counts in the background
		if text = s.get(t, monitor+"/metrics").body; counted.MatchString(text) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	for _, want := range []string{
		`issuer_users 2`, `issuer_devices 2`, `issuer_sessions 2`, `issuer_requests_total\{method="POST",route="/token",status="200"\} 2`,
		`issuer_build_info\{go="go1\.[^"]+",revision="",version=""\} 1`,
	} {
		if !regexp.MustCompile("(?m)^" + want + "$").MatchString(text) {
			t.Errorf("metrics without %s", want)
		}
	}
	for _, path := range []string{"/", "/admin/users", "/token", "/jwks", "/.well-known/oauth-authorization-server", "/me", "/debug/pprof/"} {
		if a := s.get(t, monitor+path); a.status != http.StatusNotFound {
			t.Errorf("GET %s of monitoring = %v, want 404", path, a)
		}
	}
	if a := s.send(t, s.http, s.request(t, http.MethodPost, monitor+"/metrics", "x=y")); a.status != http.StatusMethodNotAllowed {
		t.Errorf("POST /metrics = %v, want 405", a)
	}
	s.faults.set("Ping")
	s.clock.advance(2 * time.Second) // an answer of the database is used for a second
	if a := s.get(t, monitor+"/readyz"); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("GET /readyz without a database = %v, want 503", a)
	}
	if a := s.get(t, monitor+"/metrics"); a.status != http.StatusOK {
		t.Errorf("GET /metrics without a database = %v, want 200", a)
	}
}

// TestProfiles holds that the admin socket serves profiles of the process, and that no other listener does.
func TestProfiles(t *testing.T) {
	fill := withOperators()
	fill["metrics"] = "127.0.0.1:0"
	s := start(t, fill)
	for path, want := range map[string]string{"": "goroutine", "heap?debug=1": "heap profile", "goroutine?debug=1": "goroutine profile", "profile?seconds=1": "\x1f\x8b"} {
		if a := s.get(t, s.admin+"/debug/pprof/"+path); a.status != http.StatusOK || !strings.Contains(a.body, want) {
			t.Errorf("GET /debug/pprof/%s = %d, want %q", path, a.status, want)
		}
	}
	if a := s.get(t, s.admin+"/debug/pprof/none"); a.status != http.StatusNotFound {
		t.Errorf("a profile that does not exist = %v, want 404", a)
	}
	for name, at := range map[string]string{"public": s.issuer, "operators": s.network, "monitoring": "http://" + s.fill["metrics"]} {
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/profile?seconds=1"} {
			if a := s.get(t, at+path); a.status != http.StatusNotFound {
				t.Errorf("GET %s at the listener %s = %v, want 404", path, name, a)
			}
		}
	}
}

// TestMetricsDocument holds docs/metrics.md to the metrics that are served: a row for each, with its type and labels.
func TestMetricsDocument(t *testing.T) {
	s := start(t, nil)
	s.login(t, newDevice(t), "alice")
	text := s.get(t, s.admin+"/metrics").body
	served := make(map[string]string)
	for _, m := range servedType.FindAllStringSubmatch(text, -1) {
		labels := make(map[string]bool)
		line := regexp.MustCompile(`(?m)^` + m[1] + `(?:_bucket)?\{(.*)\}`)
		for _, l := range line.FindAllStringSubmatch(text, -1) {
			for _, name := range servedLabel.FindAllStringSubmatch(l[1], -1) {
				if name[1] != "le" {
					labels["`"+name[1]+"`"] = true
				}
			}
		}
		served[m[1]] = m[2] + " " + strings.Join(slices.Sorted(maps.Keys(labels)), ", ")
	}
	document, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]string)
	for _, m := range metricRow.FindAllStringSubmatch(string(document), -1) {
		labels := strings.Split(m[3], ", ")
		slices.Sort(labels)
		if _, twice := documented[m[1]]; twice {
			t.Errorf("docs/metrics.md has %s twice", m[1])
		}
		documented[m[1]] = m[2] + " " + strings.Join(labels, ", ")
	}
	for name, what := range served {
		if documented[name] != what {
			t.Errorf("docs/metrics.md says of %s %q, want %q", name, documented[name], what)
		}
	}
	for name := range documented {
		if served[name] == "" {
			t.Errorf("docs/metrics.md has %s, which is not served", name)
		}
	}
	if len(served) < 15 {
		t.Errorf("only %v is served", served)
	}
}
