package interop_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/client"
)

const saslMechanism = "IM-PRESENTATION"

// TestProsody lets users sign in at a real Prosody, which asks the helper by contrib/prosody. Alice does so with her token and a
// presentation; everybody else who has the token does not.
func TestProsody(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // of what hangs
	t.Cleanup(cancel)
	dir, err := os.MkdirTemp("", "prosody") // t.TempDir is too long for the name of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	binary := program(t, "./cmd/issuer")
	write(t, dir, map[string]string{"settings.yaml": "domains: [{name: example.com, system: xmpp}]\n"})

	issuerContext, stopIssuer := context.WithCancel(ctx)
	defer stopIssuer()
	serve := exec.CommandContext(issuerContext, binary, "serve", "--dev", "--config", filepath.Join(dir, "settings.yaml"),
		"--data", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0", "--dev-idp-listen", "127.0.0.1:0", "--log-format", "json")
	issuer := ready(t, serve, "issuer")
	socket := filepath.Join(dir, "socket")
	helper := func() func() {
		t.Helper()
		ctx, stop := context.WithCancel(ctx)
		cmd := exec.CommandContext(ctx, "sh", "-c", `. "$0"; exec "$@"`, filepath.Join(dir, "data/dev.env"), binary, "sasl-helper",
			"--domain", "example.com", "--socket", socket, "--log-format", "json")
		ready(t, cmd, "socket")
		return func() {
			stop()
			for { // a helper that stops closes its connections
				conn, err := net.Dial("unix", socket)
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, conn)
			}
		}
	}
	stopHelper := helper()
	chat := startProsody(t, ctx, dir)

	alice := newDevice(t, ctx, issuer, "alice")
	present := func(c saslChallenge) string { return alice.response(t, "alice@example.com", c) }

	t.Run("Alice", func(t *testing.T) {
		s := open(t, chat)
		if got := s.features(t).Mechanisms; len(got) != 1 || got[0] != saslMechanism {
			t.Fatalf("mechanisms = %q, want %s alone", got, saslMechanism)
		}
		if got := s.signIn(t, present); got != "success" {
			t.Fatalf("signIn = %s, want success", got)
		}
		if jid := s.bind(t); jid != "alice@example.com/test" {
			t.Errorf("bound to %s, want alice@example.com/test", jid)
		}
	})
	t.Run("without an account", func(t *testing.T) {
		if got := dial(t, chat).signIn(t, func(c saslChallenge) string { return alice.response(t, "", c) }); got != "success" {
			t.Errorf("signIn = %s, want success", got)
		}
	})
	t.Run("many at once", func(t *testing.T) {
		const n = 20
		results := make(chan string, n)
		for range n {
			s := dial(t, chat)
			go func() { results <- s.signIn(t, present) }()
		}
		for range n {
			if got := <-results; got != "success" {
				t.Errorf("signIn = %s, want success", got)
			}
		}
	})

	var seen string // by a thief
	if got := dial(t, chat).signIn(t, func(c saslChallenge) string { seen = present(c); return seen }); got != "success" {
		t.Fatalf("signIn = %s, want success", got)
	}
	thief := newDevice(t, ctx, issuer, "bob")
	bob := thief.token
	thief.token = alice.token
	for name, test := range map[string]struct {
		respond func(saslChallenge) string
		want    string
	}{
		"token alone": {func(saslChallenge) string { return "n,,\x01auth=DPoP " + alice.token + "\x01\x01" },
			"not-authorized invalid_dpop_proof"},
		"bearer": {func(saslChallenge) string { return "n,a=alice@example.com,\x01auth=Bearer " + alice.token + "\x01\x01" },
			"not-authorized invalid_dpop_proof"},
		"another key": {func(c saslChallenge) string { return thief.response(t, "alice@example.com", c) },
			"not-authorized invalid_dpop_proof"},
		"replay": {func(saslChallenge) string { return seen }, "not-authorized invalid_dpop_proof"},
		"presentation for another server": {func(c saslChallenge) string {
			c.Audience = "im:example.org"
			return alice.response(t, "alice@example.com", c)
		}, "not-authorized invalid_dpop_proof"},
		"another account": {func(c saslChallenge) string { return alice.response(t, "bob@example.com", c) },
			"invalid-authzid invalid_token"},
		"no token":   {func(saslChallenge) string { return "n,,\x01\x01" }, "malformed-request invalid_request"},
		"no message": {func(saslChallenge) string { return "" }, "malformed-request"},
		"no format":  {func(saslChallenge) string { return "\x00alice\x00alice" }, "malformed-request invalid_request"},
		"too long": {func(saslChallenge) string { return "n,,\x01auth=DPoP " + strings.Repeat("a", 40<<10) + "\x01\x01" },
			"malformed-request"},
	} {
		t.Run(name, func(t *testing.T) {
			s := dial(t, chat)
			if got := s.signIn(t, test.respond); got != test.want {
				t.Errorf("signIn = %s, want %s", got, test.want)
			}
			if got := s.signIn(t, present); got != "success" { // on the same connection
				t.Errorf("signIn of alice = %s, want success", got)
			}
		})
	}
	t.Run("initial response", func(t *testing.T) {
		s := dial(t, chat)
		s.send(t, "<auth xmlns='%s' mechanism='%s'>%s</auth>", saslNamespace, saslMechanism, base64.StdEncoding.EncodeToString([]byte(seen)))
		if got := s.outcome(t); got != "malformed-request" {
			t.Errorf("outcome = %s, want malformed-request", got)
		}
	})
	t.Run("password", func(t *testing.T) {
		s := dial(t, chat)
		s.send(t, "<auth xmlns='%s' mechanism='PLAIN'>%s</auth>", saslNamespace, base64.StdEncoding.EncodeToString([]byte("\x00alice\x00alice")))
		if got := s.outcome(t); got == "success" {
			t.Errorf("outcome = %s, want a failure", got)
		}
	})
	t.Run("session ended", func(t *testing.T) {
		thief.token = bob // the own one
		respond := func(c saslChallenge) string { return thief.response(t, "bob@example.com", c) }
		if got := dial(t, chat).signIn(t, respond); got != "success" {
			t.Errorf("signIn of bob = %s, want success", got)
		}
		if err := thief.app.Revoke(ctx, thief.refresh); err != nil {
			t.Fatal(err)
		}
		if got := dial(t, chat).signIn(t, respond); got != "not-authorized invalid_token" {
			t.Errorf("signIn of bob = %s, want not-authorized invalid_token", got)
		}
	})
	t.Run("outages", func(t *testing.T) {
		stopHelper()
		if got := dial(t, chat).signIn(t, present); got != "temporary-auth-failure" {
			t.Errorf("signIn without the helper = %s, want temporary-auth-failure", got)
		}
		stopHelper = helper()
		if got := dial(t, chat).signIn(t, present); got != "success" {
			t.Errorf("signIn with a new helper = %s, want success", got)
		}
		got := dial(t, chat).signIn(t, func(c saslChallenge) string {
			stopHelper() // between challenge and response
			return present(c)
		})
		if got != "temporary-auth-failure" {
			t.Errorf("signIn while the helper stops = %s, want temporary-auth-failure", got)
		}
		helper()
		stopIssuer()
		for err := error(nil); err == nil; {
			_, err = client.Discover(ctx, http.DefaultClient, issuer)
		}
		if got := dial(t, chat).signIn(t, present); got != "temporary-auth-failure" {
			t.Errorf("signIn without the issuer = %s, want temporary-auth-failure", got)
		}
	})
}

// startProsody starts a Prosody for example.com with the module of contrib, and returns its address.
func startProsody(t *testing.T, ctx context.Context, dir string) string {
	t.Helper()
	const host = "127.0.0.57" // no other test takes the port there before Prosody does
	free, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	modules, err := filepath.Abs("../../contrib/prosody")
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, map[string]string{"prosody.cfg.lua": fmt.Sprintf(`
run_as_root = true
pidfile = "%[1]s/prosody.pid"
data_path = "%[1]s"
certificates = "%[1]s"
plugin_paths = { "%[2]s" }
modules_enabled = { "saslauth" }
modules_disabled = { "s2s", "s2s_auth_certs", "tls" }
c2s_interfaces = { "%[4]s" }
c2s_ports = { %[3]s }
c2s_require_encryption = false -- loopback only
c2s_unauthed_stanza_size_limit = 65536
log = { { levels = { min = "info" }, to = "console" } }
VirtualHost "example.com"
	authentication = "im"
	auth_im_socket = "%[1]s/socket"
`, dir, modules, port, host)})
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "prosody", "-F", "--config", filepath.Join(dir, "prosody.cfg.lua"))
	output, input := io.Pipe()
	cmd.Stdout, cmd.Stderr = input, input
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	started, ended := make(chan bool, 1), make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(output); lines.Scan(); {
			t.Log(lines.Text())
			if strings.Contains(lines.Text(), "Activated service 'c2s'") {
				started <- true
			}
		}
	}()
	go func() {
		_ = cmd.Wait() // ends with the test
		_ = input.Close()
		close(started)
	}()
	t.Cleanup(func() { <-ended })
	if !<-started {
		t.Fatal("Prosody ended before it was ready")
	}
	return address
}

// A device is a user's app with a token.
type device struct {
	app            *client.Client
	signer         *dpop.Signer
	token, refresh string
}

func newDevice(t *testing.T, ctx context.Context, issuer, user string) *device {
	t.Helper()
	return newDeviceFor(t, ctx, issuer, user, url.Values{})
}

// newDeviceFor is newDevice with further parameters of the authorization request.
func newDeviceFor(t *testing.T, ctx context.Context, issuer, user string, extra url.Values) *device {
	t.Helper()
	app, signer := newClient(t, ctx, issuer, "im-app", "")
	tokens := logIn(t, ctx, app, extra, "text", user)
	return &device{app, signer, tokens.AccessToken, tokens.RefreshToken}
}

// A saslChallenge is the first message of the server.
type saslChallenge struct {
	Nonce    string `json:"nonce"`
	Audience string `json:"aud"`
}

// response is the answer to a challenge, in the format of RFC 7628 §3.1.
func (d *device) response(t *testing.T, account string, c saslChallenge) string {
	t.Helper()
	p, err := d.signer.Presentation(dpop.PresentationParams{Audience: c.Audience, Nonce: c.Nonce, AccessToken: d.token})
	if err != nil {
		t.Error(err)
	}
	if account != "" {
		account = "a=" + account
	}
	return "n," + account + ",\x01auth=DPoP " + d.token + "\x01presentation=" + p + "\x01\x01"
}

const saslNamespace = "urn:ietf:params:xml:ns:xmpp-sasl"

// An xmppStream is a client's connection to an XMPP server (RFC 6120).
type xmppStream struct {
	conn net.Conn
	in   *xml.Decoder
}

// dial opens a stream and reads the features.
func dial(t *testing.T, address string) *xmppStream {
	t.Helper()
	s := open(t, address)
	s.features(t)
	return s
}

func open(t *testing.T, address string) *xmppStream {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	s := &xmppStream{conn: conn}
	s.restart(t)
	return s
}

// restart sends the header of a stream and reads that of the server.
func (s *xmppStream) restart(t *testing.T) {
	t.Helper()
	s.in = xml.NewDecoder(s.conn)
	s.send(t, "<?xml version='1.0'?><stream:stream to='example.com' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>")
	if start := s.next(t); start.Name.Local != "stream" {
		t.Fatalf("the server sends <%s>, want a stream", start.Name.Local)
	}
}

type features struct {
	Mechanisms []string  `xml:"mechanisms>mechanism"`
	Bind       *struct{} `xml:"bind"`
}

func (s *xmppStream) features(t *testing.T) (f features) {
	t.Helper()
	start := s.next(t)
	if err := s.in.DecodeElement(&f, &start); err != nil || start.Name.Local != "features" {
		t.Fatalf("the server sends <%s>, %v, want features", start.Name.Local, err)
	}
	return f
}

func (s *xmppStream) send(t *testing.T, format string, args ...any) {
	t.Helper()
	if _, err := fmt.Fprintf(s.conn, format, args...); err != nil {
		t.Error(err)
	}
}

// next returns the start of the next element; the zero one if the stream has ended.
func (s *xmppStream) next(t *testing.T) xml.StartElement {
	t.Helper()
	for {
		token, err := s.in.Token()
		if err != nil {
			t.Errorf("read the stream: %v", err)
			return xml.StartElement{}
		}
		if start, ok := token.(xml.StartElement); ok {
			return start
		}
	}
}

// signIn makes one exchange. It returns success, or the condition of the failure and the status of the error challenge.
func (s *xmppStream) signIn(t *testing.T, respond func(saslChallenge) string) string {
	t.Helper()
	s.send(t, "<auth xmlns='%s' mechanism='%s'/>", saslNamespace, saslMechanism)
	start := s.next(t)
	if start.Name.Local != "challenge" {
		return s.result(t, start)
	}
	var c saslChallenge
	if err := json.Unmarshal(s.data(t, start), &c); err != nil || c.Nonce == "" || c.Audience != "im:example.com" {
		t.Errorf("challenge = %+v, %v, want a nonce for im:example.com", c, err)
	}
	s.send(t, "<response xmlns='%s'>%s</response>", saslNamespace, base64.StdEncoding.EncodeToString([]byte(respond(c))))
	return s.outcome(t)
}

// outcome reads the end of an exchange. An error challenge is answered as RFC 7628 §3.2.3 says.
func (s *xmppStream) outcome(t *testing.T) string {
	t.Helper()
	start := s.next(t)
	if start.Name.Local != "challenge" {
		return s.result(t, start)
	}
	var failure struct{ Status string }
	if err := json.Unmarshal(s.data(t, start), &failure); err != nil || failure.Status == "" {
		t.Errorf("error challenge = %+v, %v, want a status", failure, err)
	}
	s.send(t, "<response xmlns='%s'>AQ==</response>", saslNamespace)
	return s.result(t, s.next(t)) + " " + failure.Status
}

func (s *xmppStream) result(t *testing.T, start xml.StartElement) string {
	t.Helper()
	if start.Name.Local == "success" {
		if err := s.in.DecodeElement(new(struct{}), &start); err != nil {
			t.Error(err)
		}
		return "success"
	}
	var failure struct {
		Conditions []struct{ XMLName xml.Name } `xml:",any"`
	}
	if err := s.in.DecodeElement(&failure, &start); err != nil || start.Name.Local != "failure" || len(failure.Conditions) == 0 {
		t.Errorf("the server sends <%s>, %v, want a failure", start.Name.Local, err)
		return ""
	}
	return failure.Conditions[0].XMLName.Local
}

// data reads the base64 text of an element.
func (s *xmppStream) data(t *testing.T, start xml.StartElement) []byte {
	t.Helper()
	var text string
	if err := s.in.DecodeElement(&text, &start); err != nil {
		t.Error(err)
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Error(err)
	}
	return data
}

// bind binds a resource after a success, and returns the full JID.
func (s *xmppStream) bind(t *testing.T) string {
	t.Helper()
	s.restart(t)
	if s.features(t).Bind == nil {
		t.Error("the server does not offer to bind a resource")
	}
	s.send(t, "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>test</resource></bind></iq>")
	var answer struct {
		JID string `xml:"bind>jid"`
	}
	start := s.next(t)
	if err := s.in.DecodeElement(&answer, &start); err != nil {
		t.Error(err)
	}
	return answer.JID
}
