package interop_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The names of a stranger: what docs/operate.md calls your-domain.tld.
const (
	strange         = "acme.im"
	strangeIssuer   = "https://im-id." + strange
	strangeProvider = "https://login." + strange
)

var fences = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")

// TestOperate does what docs/operate.md says, word for word: ten commands from a domain, a certificate and a provider to a
// token; then the same issuer behind nginx, and behind Caddy, with the settings that stand there. It runs in a network and
// with a hosts file of its own.
func TestOperate(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // of what hangs
	defer cancel()
	text, err := os.ReadFile("../../docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	own := strings.NewReplacer("your-domain.tld", strange, "/etc/issuer", dir+"/etc", "/var/lib/issuer", dir+"/var",
		"/usr/local/bin/issuer", dir+"/bin/issuer", "/etc/ssl/certs/ca-certificates.crt", dir+"/ca.pem",
		"0.0.0.0:443", "127.0.0.3:443", "listen 443", "listen 127.0.0.3:443") // the provider has another address of this machine
	blocks := make(map[string]string)
	for _, m := range fences.FindAllStringSubmatch(string(text), -1) {
		blocks[m[1]] += own.Replace(m[2])
	}
	for _, language := range []string{"sh", "nginx", "caddy"} {
		if blocks[language] == "" {
			t.Fatalf("docs/operate.md has no %s", language)
		}
	}
	commands := regexp.MustCompile(`(?m)^\S`).FindAllString(blocks["sh"], -1)
	if len(commands) > 11 { // the one that waits is none
		t.Errorf("docs/operate.md has %d commands for the first day, want ten", len(commands)-1)
	}
	// The names lead to this machine, which the issuer may not ask unless it is told so.
	blocks["sh"] = strings.Replace(blocks["sh"], "issuer config check",
		"printf 'outbound: {allow_networks: [127.0.0.0/8]}\\n' >> "+dir+"/etc/issuer.yaml\nissuer config check", 1)

	certificates(t, dir)
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	browse, err := compile(".", "./browse")
	if err != nil {
		t.Fatal(err)
	}
	provider := node(t, ctx, "provider.mjs", nil)
	write(t, dir, map[string]string{
		"hosts":        "127.0.0.1 localhost\n127.0.0.2 login." + strange + "\n127.0.0.3 im-id." + strange + " " + strange + "\n",
		"first-day":    blocks["sh"],
		"nginx.conf":   "daemon off;\npid " + dir + "/nginx.pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n" + temporary(dir) + blocks["nginx"] + "}\n",
		"Caddyfile":    "{\n\tadmin off\n\tauto_https disable_redirects\n\tdefault_bind 127.0.0.3\n}\n" + blocks["caddy"],
		"bin/xdg-open": "#!/bin/sh\nPERSON=alice exec " + browse + " \"$1\" >> " + dir + "/browse.log 2>&1\n",
	})
	if err := os.Chmod(dir+"/bin/xdg-open", 0o755); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{
		"T": dir, "ROOT": root, "DOMAIN": strange, "PROVIDER_SECRET": secret, "NODE": provider.Path, "PROVIDER": mustAbs(t, "provider.mjs"),
		"PATH": dir + "/bin:" + os.Getenv("PATH") + ":/usr/sbin", "HOME": dir, "XDG_CONFIG_HOME": dir + "/config", "DISPLAY": ":0",
		"SSL_CERT_FILE": dir + "/ca.pem", "NODE_EXTRA_CA_CERTS": dir + "/ca.pem", "CURL_CA_BUNDLE": dir + "/ca.pem",
		"GOFLAGS": "-buildvcs=false", "GOCACHE": goEnv(t, "GOCACHE"), "GOMODCACHE": goEnv(t, "GOMODCACHE"),
		"ISSUER": strangeProvider, "TLS_CERT": dir + "/login.pem", "TLS_KEY": dir + "/login.key",
		"CLIENT_ID": "im-issuer", "CLIENT_SECRET": secret, "REDIRECT_URI": strangeIssuer + "/login/callback/corp",
	}
	arguments := []string{"-n", "-m", "bash", "-eu", "-o", "pipefail", mustAbs(t, "testdata/operate.sh")}
	if os.Geteuid() != 0 {
		arguments = append([]string{"-r"}, arguments...)
	}
	cmd := exec.CommandContext(ctx, "unshare", arguments...)
	for name, value := range maps.All(env) {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with what it leaves running
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if err != nil {
		t.Errorf("%v\n%s\n%s", err, out, complaints.String())
		for _, name := range []string{"provider", "var/log", "browse.log", "nginx.log", "caddy.log"} {
			if said, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
				t.Logf("%s:\n%s", name, said)
			}
		}
		t.FailNow()
	}
	t.Logf("%s", out)
	at := 0
	for _, want := range []string{
		"issuer.yaml is valid", "im:%40alice.liddell@" + strange,
		"nginx: the domain names its issuer", "nginx: a token of 8 KiB is answered by the issuer", "im:%40alice.liddell@" + strange,
		"caddy: the domain names its issuer", "caddy: a token of 8 KiB is answered by the issuer", "im:%40alice.liddell@" + strange,
	} {
		i := strings.Index(string(out)[at:], want)
		if i < 0 {
			t.Fatalf("no %q after\n%s\nin\n%s\n%s", want, out[:at], out[at:], complaints.String())
		}
		at += i + len(want)
	}
}

// temporary are the places where nginx keeps what it has not read yet: it must not need root's.
func temporary(dir string) string {
	var list string
	for _, what := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		list += fmt.Sprintf("%s_temp_path %s/nginx-%s;\n", what, dir, what)
	}
	return list
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func mustAbs(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// certificates makes an authority that everybody in the test believes, and certificates of the issuer's host (in etc, where
// the stranger has put them) and of the provider's.
func certificates(t *testing.T, dir string) {
	t.Helper()
	now := time.Now()
	key := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	sign := func(template, parent *x509.Certificate, public *ecdsa.PublicKey, by *ecdsa.PrivateKey) string {
		template.NotBefore, template.NotAfter = now.Add(-time.Hour), now.AddDate(0, 3, 0)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, public, by)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	caKey := key()
	files := map[string]string{"ca.pem": sign(ca, ca, &caKey.PublicKey, caKey)}
	for i, host := range []struct{ name, cert, key string }{
		{"im-id." + strange, "etc/cert.pem", "etc/key.pem"}, {"login." + strange, "login.pem", "login.key"},
		{strange, "etc/web.pem", "etc/web.key"},
	} {
		k := key()
		files[host.cert] = sign(&x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 2)), DNSNames: []string{host.name},
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}, ca, &k.PublicKey, caKey)
		der, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		files[host.key] = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	write(t, dir, files)
}
