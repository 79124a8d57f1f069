package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage/postgres/postgrestest"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

// balanced makes count nodes that share the database at a URL, and HAProxy before them with the settings of packaging/haproxy. The issuer's
// URL is that of HAProxy. Nothing runs yet but HAProxy, at whose socket stats are.
func balanced(t *testing.T, count int, url string) (issuer string, nodes []*victim, stats string) {
	t.Helper()
	v := newVictim(t, "storage: postgres", "storage_url_file: url", "replay: storage", "trusted_proxies: [127.0.0.1/32]",
		"limits: {devices_per_user: 1000}")
	text := v.settings(t)
	for i := range count {
		listen := freeAddress(t)
		node := &victim{issuer: "http://" + listen, listen: listen, folder: t.TempDir()}
		node.data = filepath.Join(node.folder, "data")
		if err := os.Mkdir(node.data, 0o700); err != nil {
			t.Fatal(err)
		}
		own := strings.NewReplacer("listen: "+v.listen, "listen: "+listen, v.data, node.data).Replace(text)
		for name, content := range map[string]string{
			"issuer.yaml": fmt.Sprintf("%saudit: {node: n%d}\n", own, i+1), "url": url + "\n", "data/kek": strings.Repeat("5a", 32) + "\n",
		} {
			if err := os.WriteFile(filepath.Join(node.folder, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		nodes = append(nodes, node)
	}
	return v.issuer, nodes, startHAProxy(t, v.listen, nodes)
}

// startHAProxy starts HAProxy at an address, without TLS, with the settings of packaging/haproxy for some nodes. It returns the socket for
// its commands.
func startHAProxy(t *testing.T, listen string, nodes []*victim) string {
	t.Helper()
	folder, err := filepath.Abs(filepath.Join(root, "packaging", "haproxy"))
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := os.MkdirTemp("", "haproxy") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(sockets) })
	servers := ""
	for i, node := range nodes {
		servers += fmt.Sprintf("    server n%d %s\n", i+1, node.listen)
	}
	text := regexp.MustCompile(`(?m)^    bind :443 .*$`).ReplaceAllString(readDoc(t, "packaging/haproxy/haproxy.cfg"), "    bind "+listen)
	text = regexp.MustCompile(`(?m)(^    server .* 10\..*\n)+`).ReplaceAllString(text, servers)
	text = strings.NewReplacer("/etc/haproxy/issuer-503.http", filepath.Join(folder, "503.http"), "/run/haproxy", sockets,
		"abns@im-issuer", "abns@"+filepath.Base(sockets)).Replace(text)
	config := filepath.Join(sockets, "haproxy.cfg")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(sockets, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	proxy := exec.Command("/usr/sbin/haproxy", "-db", "-f", config)
	proxy.Stdout, proxy.Stderr = log, log
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = proxy.Process.Kill()
		_ = proxy.Wait()
		if said, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("HAProxy:\n%s", regexp.MustCompile(`(?m)^.* ---- .*\n`).ReplaceAllString(string(said), "")) // without what went well
		}
	})
	return filepath.Join(sockets, "admin.sock")
}

// balancing waits until HAProxy sends requests to all of some nodes.
func balancing(t *testing.T, stats string, nodes int) {
	t.Helper()
	var said string
	for range 1500 {
		if said = haproxy(stats, "show stat"); len(upServers.FindAllString(said, -1)) == 2*nodes { // in two backends
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("HAProxy does not use %d nodes:\n%s", nodes, said)
}

var upServers = regexp.MustCompile(`(?m)^(issuer|documents),n\d+,.*,UP,`)

// haproxy returns what HAProxy answers to a command, or why it does not.
func haproxy(socket, command string) string {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	if _, err := fmt.Fprintln(conn, command); err != nil {
		return err.Error()
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		return err.Error()
	}
	return string(answer)
}

// as runs the command of a node with the program of another release.
func (v *victim) as(t *testing.T, program string, args ...string) {
	t.Helper()
	if out, err := exec.Command(program, append(args, "--config", v.config())...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// TestUpgradeNodes replaces two nodes of the first release on PostgreSQL by this one, one after the other, under load behind HAProxy:
// the new program migrates the database while the old nodes run, and an old one that starts again afterwards works, too. Clients see
// nothing but 503 with Retry-After; nothing that was acknowledged is lost, at any node.
func TestUpgradeNodes(t *testing.T) {
	t.Parallel()
	rounds := int64(40)
	if testing.Short() {
		rounds = 10
	}
	old := firstPostgres.build(t)
	server, err := postgrestest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	issuer, nodes, stats := balanced(t, 2, server.URL("postgres"))
	one, two := nodes[0], nodes[1]
	one.as(t, old, "migrate", "up")
	for _, node := range nodes {
		node.program = old
		node.start(t)
	}
	balancing(t, stats, len(nodes))
	l := &upgradeLoad{t: t, issuer: issuer}
	l.beginLoad()
	l.wait(rounds)
	one.run(t, 1, "^lacking\t00004_names_audit_retention.sql", "migrate", "status", "--config", one.config())
	one.run(t, 0, "^Took step 4 ", "migrate", "up", "--config", one.config())
	one.run(t, 0, "^applied\t00004_names_audit_retention.sql", "migrate", "status", "--config", one.config())
	l.wait(rounds)
	two.stop(t)
	two.start(t) // still the old one, on the new schema
	balancing(t, stats, len(nodes))
	l.wait(rounds)

	one.stop(t)
	one.program = ""
	one.start(t)
	balancing(t, stats, len(nodes))
	l.wait(rounds)
	l.crossed(one, two)
	two.stop(t)
	two.program = ""
	two.start(t)
	balancing(t, stats, len(nodes))
	l.wait(rounds)
	l.stop()
	if t.Failed() {
		return
	}
	l.crossed(one, two)
	l.kept(nodes...)
	for _, node := range nodes {
		node.stop(t)
	}
}

// TestUpgradeSQLite replaces the program of an issuer on SQLite by this one, as docs/operate.md says: everything is there. The program of
// before refuses the new database and changes nothing; with the backup it goes on.
func TestUpgradeSQLite(t *testing.T) {
	t.Parallel()
	old := beforePostgres.build(t)
	v := newVictim(t, "replay: storage", "limits: {devices_per_user: 1000}")
	v.program = old
	v.start(t)
	l := &upgradeLoad{t: t, issuer: v.issuer}
	l.beginLoad()
	l.wait(60)
	backup := filepath.Join(v.folder, "backup.db")
	v.as(t, old, "backup", "--to", backup)
	l.wait(20)
	l.stop()
	v.stop(t)

	v.program = ""
	v.start(t)
	l.kept(v)
	v.stop(t)
	sqlitetest.Whole(t, v.database)
	before := v.files(t)
	out, err := exec.Command(old, "serve", "--config", v.config()).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "newer") {
		t.Errorf("the old program on the new database = %v, %s, want it to refuse", err, out)
	}
	if after := v.files(t); after["issuer.db"] != before["issuer.db"] || after["issuer.db-wal"] != before["issuer.db-wal"] {
		t.Error("the old program changed the database")
	}
	v.as(t, old, "restore", "--from", backup)
	v.program = old
	v.start(t)
	s, err := l.login(person(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.refresh(s); err != nil {
		t.Error(err)
	}
	v.stop(t)
}
