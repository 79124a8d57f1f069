package main

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage/postgres/postgrestest"
)

// TestFailover: the primary is lost and its standby, which had not received the last transactions, is promoted. A session whose rotation
// was lost goes on, and a revocation that was acknowledged stays in force at every node: while it is written again, they do not answer.
func TestFailover(t *testing.T) {
	t.Parallel()
	primary, err := postgrestest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(primary.Stop)
	v := newVictim(t, "storage: postgres", "storage_url_file: url", "replay: storage")
	connect := func(url string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(v.folder, "url"), []byte(url+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	connect(primary.URL("postgres"))
	v.run(t, 0, "^Took step 1 ", "migrate", "up", "--config", v.config())
	standby, err := primary.Standby()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(standby.Stop)
	connect(postgrestest.URLOf("postgres", primary, standby))
	v.start(t)
	two := anotherNode(t, v)
	v.becomes(t, "/readyz", http.StatusOK)
	s, ended := v.session(t, person(0)), v.session(t, person(1))
	if err := standby.CatchUp(primary); err != nil {
		t.Fatal(err)
	}
	if err := standby.Detach(); err != nil {
		t.Fatal(err)
	}
	for range 3 { // which the standby does not get
		s.refresh(t)
	}
	if err := ended.Client.Revoke(t.Context(), ended.RefreshToken); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); activeAt(t, two, ended.AccessToken); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) { // until it has read this, it may say so for two seconds
			t.Fatal("a session that was ended at one node is live at the other")
		}
	}
	primary.Signal(postgrestest.Immediate)
	if err := standby.Promote(); err != nil {
		t.Fatal(err)
	}

	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		ready := true
		for _, node := range []*victim{v, two} {
			switch status, active := answerAt(t, node, ended.AccessToken); {
			case status == http.StatusOK && active:
				t.Fatalf("a token of a session that was ended is active at %s after the failover", node.issuer)
			case status != http.StatusOK && status != http.StatusServiceUnavailable:
				t.Fatalf("introspection at %s = %d", node.issuer, status)
			case status != http.StatusOK:
				ready = false
			}
			ready = ready && node.status(t, "/readyz") == http.StatusOK
		}
		if ready {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the nodes are not ready after the failover:\n%s\n%s", v.log(t), two.log(t))
		}
	}
	s.refresh(t)
	for _, node := range []*victim{v, two} {
		// A node that was ready may notice the failover only now, and then does not answer for a while.
		status, active := answerAt(t, node, s.AccessToken)
		for end := time.Now().Add(time.Minute); status == http.StatusServiceUnavailable && time.Now().Before(end); {
			time.Sleep(20 * time.Millisecond)
			status, active = answerAt(t, node, s.AccessToken)
		}
		if status != http.StatusOK || !active {
			t.Errorf("a session whose last rotations were lost has no active token at %s: %d", node.issuer, status)
		}
	}
	if err := ended.tryRefresh(t); err == nil {
		t.Error("a session that was ended is refreshed after the failover")
	}
	two.end(t)
	v.end(t)

	// What was written again is in the database: a node that knows nothing from before says the same.
	v.start(t)
	v.becomes(t, "/readyz", http.StatusOK)
	if v.active(t, ended.AccessToken) {
		t.Error("a token of a session that was ended is active after a restart")
	}
	s.refresh(t)
}
