package interop_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A process is a program that runs until it is stopped, or the test ends.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

// startProcess starts a program. If ready is not empty, it waits for a line of output that contains it. The output is in the test's log.
func startProcess(t *testing.T, cmd *exec.Cmd, ready string) *process {
	t.Helper()
	output, input := io.Pipe()
	cmd.Stdout, cmd.Stderr = input, input
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with its workers
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v; make setup installs it", err)
	}
	p := &process{cmd, make(chan struct{})}
	found, read := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(read)
		var once sync.Once
		for lines := bufio.NewReader(output); ; {
			line, err := lines.ReadString('\n')
			if line != "" {
				t.Logf("%s: %s", filepath.Base(cmd.Path), line)
			}
			if strings.Contains(line, ready) {
				once.Do(func() { close(found) })
			}
			if err != nil {
				return
			}
		}
	}()
	go func() {
		_ = cmd.Wait() // it is stopped by a signal
		_ = input.Close()
		<-read
		close(p.ended)
	}()
	t.Cleanup(p.stop)
	if ready != "" {
		select {
		case <-found:
		case <-p.ended:
			t.Fatalf("%v ended before it was ready", cmd)
		}
	}
	return p
}

// stop ends the program and waits for its end.
func (p *process) stop() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.ended
}

// ports hands out addresses of this machine that are free until the programs of the test take them.
type ports struct{ host string }

func newPorts() *ports { return &ports{"127.0.0.58"} } // of which no other test takes any

func (p *ports) take(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", p.host+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// waitForServer waits until something accepts connections at address.
func waitForServer(t *testing.T, ctx context.Context, address string, p *process) {
	t.Helper()
	for {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-p.ended:
			t.Fatalf("%v ended before it was ready", p.cmd)
		case <-ctx.Done():
			t.Fatalf("%v: %v", p.cmd, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func dialTo(address string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}

// startRedis starts a server for spent proofs at address.
func startRedis(t *testing.T, ctx context.Context, dir, address string) string {
	t.Helper()
	host, port, _ := net.SplitHostPort(address)
	cmd := exec.CommandContext(ctx, "redis-server", "--bind", host, "--port", port, "--save", "", "--dir", dir, "--maxmemory-policy", "noeviction")
	startProcess(t, cmd, "eady to accept connections")
	return address
}

// startProxy starts a proxy with the file of contrib/gateway, in which only names and addresses are replaced.
func (f *federation) startProxy(t *testing.T, ctx context.Context, s *guarded) *process {
	t.Helper()
	dir := filepath.Join(f.dir, s.kind+"-"+s.domain+"-proxy")
	certificate := filepath.Join(f.dir, s.name)
	replace := []string{
		"127.0.0.1:8000", strings.TrimPrefix(s.service.URL, "http://"),
		"/etc/nginx/chat.a.example.pem", certificate + ".pem", "/etc/nginx/chat.a.example.key", certificate + ".key",
		"/etc/haproxy/chat.a.example.pem", certificate + ".both.pem", "/etc/haproxy/", mustAbs(t, "../../contrib/gateway/haproxy") + "/",
		"chat.a.example {", s.name + " {\n\ttls " + certificate + ".pem " + certificate + ".key",
		"chat.a.example", s.name,
		"listen 443", "listen " + s.address, "bind :443", "bind " + s.address, "\n:443", "\nhttps://",
	}
	replace = append(replace, "server 127.0.0.1:9090;", "server "+strings.Join(s.addresses, ";\n    server ")+";", // asks each in turn
		"127.0.0.1:9090", s.addresses[0])
	shipped := func(name string) string {
		text, err := os.ReadFile("../../contrib/gateway/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return strings.NewReplacer(replace...).Replace(string(text))
	}
	host, port, _ := net.SplitHostPort(s.address)
	switch s.kind {
	case "nginx":
		write(t, dir, map[string]string{"site.conf": shipped("nginx/im-gateway.conf"), "nginx.conf": "daemon off;\npid " + dir + "/nginx.pid;\n" +
			"error_log stderr;\nevents {}\nhttp {\naccess_log off;\n" + temporary(dir) +
			"include " + dir + "/site.conf;\n}\n"})
		return startProcess(t, exec.CommandContext(ctx, "/usr/sbin/nginx", "-c", dir+"/nginx.conf"), "")
	case "caddy":
		write(t, dir, map[string]string{"Caddyfile": "{\n\tadmin off\n\tauto_https disable_redirects\n\tdefault_bind " + host + "\n\thttps_port " + port + "\n}\n" +
			shipped("caddy/Caddyfile")})
		cmd := exec.CommandContext(ctx, "caddy", "run", "--config", dir+"/Caddyfile", "--adapter", "caddyfile")
		cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
		return startProcess(t, cmd, "")
	}
	write(t, dir, map[string]string{"haproxy.cfg": shipped("haproxy/haproxy.cfg")})
	return startProcess(t, exec.CommandContext(ctx, "/usr/sbin/haproxy", "-db", "-f", dir+"/haproxy.cfg"), "")
}

// selfSigned returns a certificate for host that is its own authority, and the key, both PEM.
func selfSigned(t *testing.T, host string) (certificate, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 3, 0), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

func random(t *testing.T, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// talk switches protocols, and then sends back what it receives.
func talk(t *testing.T, w http.ResponseWriter) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+webSocketAccept+"\r\n\r\n")
	_, _ = io.Copy(conn, buffered) // until the client has gone
}

// write answers with what the service saw, and the body.
func (e echo) write(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e.Body = string(body)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(e) // the client has gone
}

// clientFrom returns a client that connects from one address of this machine.
func clientFrom(address string) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
}
