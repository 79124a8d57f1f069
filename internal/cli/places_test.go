package cli_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/imidentity/issuer/internal/cli"
)

const placesUser = "im:7kHb3h043lahTHszoAokdg@example.com;id-type=user"

// A placesHome is the home of a user, with the places of another one on loopback.
type placesHome struct {
	t      *testing.T
	folder string
	flags  []string // where the places are
	// serves has what each host and path answers, and records has the TXT records.
	serves, records texts
}

// texts are what a server has, by name. The test changes them while the server reads them.
type texts struct {
	mu     sync.Mutex
	byName map[string]string
}

func (t *texts) get(name string) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	text, ok := t.byName[name]
	return text, ok
}

func (t *texts) set(name, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byName == nil {
		t.byName = make(map[string]string)
	}
	t.byName[name] = text
}

// swap replaces all texts, and returns those before.
func (t *texts) swap(byName map[string]string) map[string]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.byName
	t.byName = byName
	return before
}

func newPlacesHome(t *testing.T) *placesHome {
	t.Helper()
	h := &placesHome{t: t, folder: t.TempDir()}
	h.write("pw", "correct horse battery\n")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"id.example.net", "social.example"}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	h.write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := h.serves.get(r.Host + r.URL.Path)
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", r.Header.Get("Accept"))
		_, _ = w.Write([]byte(body))
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.StartTLS()
	t.Cleanup(s.Close)
	dns, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dns.Close() })
	go h.answer(dns)
	h.flags = []string{
		"--ca-file", h.path("ca.pem"), "--dns", dns.LocalAddr().String(), "--seen", h.path("seen.json"), "--pins", h.path("pins.json"),
	}
	for _, name := range names {
		h.flags = append(h.flags, "--connect", name+"="+s.Listener.Addr().String())
	}
	return h
}

// answer answers questions for records.
func (h *placesHome) answer(conn net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		q := m.Questions[0]
		reply := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true}, Questions: m.Questions}
		if text, ok := h.records.get(q.Name.String()); !ok {
			reply.RCode = dnsmessage.RCodeNameError
		} else if q.Type == dnsmessage.TypeTXT {
			reply.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}, Body: &dnsmessage.TXTResource{TXT: []string{text}},
			}}
		}
		if packed, err := reply.Pack(); err == nil {
			_, _ = conn.WriteTo(packed, from)
		}
	}
}

func (h *placesHome) path(name string) string { return filepath.Join(h.folder, name) }

func (h *placesHome) write(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(h.path(name), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func (h *placesHome) read(name string) string {
	h.t.Helper()
	text, err := os.ReadFile(h.path(name))
	if err != nil {
		h.t.Fatal(err)
	}
	return string(text)
}

// run runs a command that must end with a code, and returns what it prints. The text must contain want.
func (h *placesHome) run(code int, want string, args ...string) string {
	h.t.Helper()
	var out, errOut bytes.Buffer
	got := cli.Run(h.t.Context(), args, strings.NewReader(""), &out, &errOut, []string{"HOME=" + h.folder})
	if text := out.String() + errOut.String(); got != code || !strings.Contains(text, want) {
		h.t.Errorf("%q = %d, want %d and %q:\n%s", args, got, code, want, text)
	}
	return out.String()
}

// verify looks at the places.
func (h *placesHome) verify(code int, want string, args ...string) string {
	h.t.Helper()
	return h.run(code, want, append(append([]string{"places", "verify", placesUser}, h.flags...), args...)...)
}

var aspeAddress = regexp.MustCompile(`aspe:id\.example\.net:[A-Z2-7]{26}`)

// TestPlaces lists places, puts the address there, and looks at them with the eyes of another user over two weeks.
func TestPlaces(t *testing.T) {
	h := newPlacesHome(t)
	keys, pw, jwt := []string{"--file", h.path("keys.json")}, []string{"--passphrase-file", h.path("pw")}, []string{"--profile", h.path("p.jwt")}
	sign := append(append(append([]string{}, keys...), pw...), jwt...)
	of := func(list ...[]string) (all []string) {
		for _, one := range list {
			all = append(all, one...)
		}
		return all
	}
	add := []string{"places", "add", "--host", "id.example.net"}
	h.run(1, "there are no keys", of(add, []string{"dns:alice.example"}, sign)...)
	h.run(0, "Master key", of([]string{"xsign", "init", "--user", placesUser}, keys, pw)...)
	h.run(1, "there is no profile", of([]string{"places", "show", "--host", "id.example.net"}, jwt)...)
	h.run(2, "has a port", of(add, []string{"https://social.example:8443/@alice"}, sign)...)
	h.run(2, "cannot be the host", of([]string{"places", "add", "--host", "127.0.0.1", "dns:alice.example"}, sign)...)
	said := h.run(0, "put this text into a TXT record", of(add, []string{"dns:alice.example", "https://social.example/@alice"}, sign)...)
	h.run(1, "has dns:alice.example already", of(add, []string{"dns:alice.example"}, sign)...)
	address := aspeAddress.FindString(said)
	if shown := h.run(0, address, of([]string{"places", "show", "--host", "id.example.net"}, jwt)...); !strings.Contains(shown, placesUser) {
		t.Errorf("show = %s", shown)
	}
	h.run(0, `"kind": "activitypub"`, of([]string{"places", "show", "--json", "--host", "id.example.net"}, jwt)...)

	// Another user looks.
	h.verify(2, "give the --address")
	h.verify(2, "--address", "--address", "aspe:x")
	h.verify(1, "missing", "--address", address)
	profile := "id.example.net/.well-known/aspe/id/" + address[strings.LastIndex(address, ":")+1:]
	h.serves.set(profile, h.read("p.jwt"))
	h.verify(1, "too_few", "--address", address)
	account := func(text string) string {
		return `{"type":"Person","id":"https://social.example/users/alice","summary":"` + text + `"}`
	}
	h.records.set("alice.example.", address)
	h.serves.set("social.example/@alice", account(address))
	h.verify(1, "too_young")
	h.back(8)
	var got struct {
		Result, Master string
		Places         []struct {
			State  string
			Counts bool
		}
	}
	if err := json.Unmarshal([]byte(h.verify(0, "", "--json")), &got); err != nil || got.Result != "good" || len(got.Places) != 2 || !got.Places[1].Counts {
		t.Errorf("verify = %+v, %v", got, err)
	}
	h.verify(0, "good: master key")

	// What does not answer cannot be known.
	dns := h.flags[3]
	h.flags[3] = "127.0.0.1:1"
	h.verify(3, "unreachable")
	h.flags[3] = dns
	served := h.serves.swap(nil)
	delete(served, profile)
	h.serves.swap(served)
	h.verify(3, "missing")
	h.serves.set(profile, h.read("p.jwt"))
	h.verify(0, "good")

	// Both places turn to another key.
	other := address[:len(address)-26] + strings.Repeat("A", 26)
	h.records.set("alice.example.", other)
	h.serves.set("social.example/@alice", account(other))
	h.verify(1, "bad (other_master)")
	h.run(0, "Nothing is known any more", "places", "forget", placesUser, "--seen", h.path("seen.json"))
	h.run(1, "nothing is known", "places", "forget", placesUser, "--seen", h.path("seen.json"))
	h.verify(1, "too_few", "--address", address)

	h.run(1, "does not have", of([]string{"places", "remove", "dns:bob.example"}, sign)...)
	h.run(0, "1 place", of([]string{"places", "remove", "dns:alice.example"}, sign)...)
	h.write("seen.json", `{"version":2,"addresses":{},"memories":{}}`)
	h.verify(2, "version 2")
	h.write("p.jwt", "no profile")
	h.run(1, "is refused", of([]string{"places", "show", "--host", "id.example.net"}, jwt)...)
}

// back puts what was seen some days into the past.
func (h *placesHome) back(days int) {
	h.t.Helper()
	text := h.read("seen.json")
	was := time.Now().UTC().AddDate(0, 0, -days).Format(time.RFC3339)
	text = regexp.MustCompile(`"first": "[^"]*"`).ReplaceAllString(text, `"first": "`+was+`"`)
	h.write("seen.json", text)
}

// TestPlacesExplained decides about a user by places, and by the master keys that are known: of another one, a profile is never good.
func TestPlacesExplained(t *testing.T) {
	h := newPlacesHome(t)
	sign := []string{"--passphrase-file", h.path("pw"), "--file"}
	masterOf := regexp.MustCompile(`Master key ([\w-]{43})`)
	init := func(file string) string {
		t.Helper()
		said := h.run(0, "Master key", append([]string{"xsign", "init", "--user", placesUser}, append(sign, h.path(file))...)...)
		return masterOf.FindStringSubmatch(said)[1]
	}
	// profile has the places, serves the profile, and returns the address.
	profile := func(file string) string {
		t.Helper()
		said := h.run(0, "put this text", append([]string{"places", "add", "--host", "id.example.net", "--profile", h.path(file + ".jwt"),
			"dns:alice.example", "https://social.example/@alice"}, append(sign, h.path(file))...)...)
		address := aspeAddress.FindString(said)
		h.serves.set("id.example.net/.well-known/aspe/id/"+address[strings.LastIndex(address, ":")+1:], h.read(file+".jwt"))
		return address
	}
	show := func(address string) {
		h.records.set("alice.example.", address)
		h.serves.set("social.example/@alice", `{"type":"Person","id":"https://social.example/users/alice","summary":"`+address+`"}`)
	}
	master, _ := init("keys.json"), init("forged.json")
	address, forged := profile("keys.json"), profile("forged.json")
	h.write("policy.yaml", `version: 1
methods:
  places: {need: 2, min_age: 7d, max_age: 7d}
decide:
  - {places: good, then: accepted, only: [user]}
  - {then: refused}
`)
	explain := func(code int, want string, args ...string) {
		t.Helper()
		args = append(append([]string{"trust", "explain", "--user", placesUser, "--policy", h.path("policy.yaml")}, h.flags...), args...)
		h.run(code, want, args...)
	}
	explain(2, "go with --places")
	explain(2, "leave out --at", "--places", "--at", "2026-01-01T00:00:00Z")
	explain(2, "give the --address", "--places")
	h.run(2, "go with --places", "trust", "explain", "--user", placesUser, "--seen", h.path("seen.json"))
	show(address)
	explain(1, "places none (too_young)", "--places", "--address", address)
	h.back(8)
	explain(0, "accepted by rule 1 of the policy; hierarchy none, xsign none (missing), places good", "--places")
	explain(0, `"outcome": "accepted"`, "--places", "--json")

	// A place or a profile that does not answer is not evidence: the policy decides without it.
	dns := h.flags[3]
	h.flags[3] = "127.0.0.1:1"
	explain(1, "refused by rule 2 of the policy; hierarchy none, xsign none (missing), places unknown (unreachable)", "--places")
	h.flags[3] = dns
	down := append([]string{}, h.flags...)
	for i := range down {
		down[i] = regexp.MustCompile(`^id\.example\.net=.*`).ReplaceAllString(down[i], "id.example.net=127.0.0.1:1")
	}
	h.run(3, "unknown (unreachable)", append([]string{"places", "verify", placesUser}, down...)...)
	h.run(1, "places unknown (unreachable)", append([]string{"trust", "explain", "--user", placesUser, "--places"}, down...)...)

	// With the master key pinned, and with the statements of the user, the same profile is good. One of another key is not: the policy
	// would have it after a week, if nothing were known of the user.
	h.run(0, "is pinned", "xsign", "pin", placesUser, "--master", master, "--pins", h.path("pins.json"))
	h.verify(0, "good: master key")
	h.write("bundle.json", h.run(0, "users", "xsign", "show", "--json", "--file", h.path("keys.json")))
	h.write("forged-bundle.json", h.run(0, "users", "xsign", "show", "--json", "--file", h.path("forged.json")))
	h.verify(0, "good: master key", "--bundle", h.path("bundle.json"))
	h.verify(0, "good: master key", "--bundle", h.path("forged-bundle.json")) // which has not the pinned key
	h.records.set("alice.example.", forged)
	h.verify(1, "none (other_key)", "--address", forged)
	h.verify(1, "too_few") // the address of the other key was not kept
	show(forged)
	h.verify(1, "bad (other_master)", "--address", forged)
	decide := append([]string{"trust", "explain", "--user", placesUser, "--places", "--bundle", h.path("bundle.json")}, h.flags...)
	h.run(1, "quarantined by rule F5; hierarchy none, xsign good", append(decide, "--address", forged)...)
	// It does not help to take the profile away.
	served := h.serves.swap(nil)
	h.run(1, "quarantined by rule F5; hierarchy none, xsign good", decide...)
	h.serves.swap(served)
	show(address)
	h.verify(0, "good: master key")

	// Without a pin, statements of another master key than that of the profile are enough.
	h.flags[7] = h.path("no-pins.json")
	h.verify(1, "none (other_key)", "--bundle", h.path("forged-bundle.json"))
	// A succession moves the places to the next master key. They are asked by standard input once, and used twice.
	h.run(0, " follows ", append([]string{"xsign", "succeed"}, append(sign, h.path("keys.json"))...)...)
	bundle := h.run(0, "users", "xsign", "show", "--json", "--file", h.path("keys.json"))
	h.write("bundle.json", bundle)
	h.verify(1, "former master key", "--bundle", h.path("bundle.json"))
	h.run(0, "put this text", append([]string{"places", "add", "--host", "id.example.net", "--profile", h.path("keys.json.jwt"),
		"dns:third.example"}, append(sign, h.path("keys.json"))...)...)
	next := aspeAddress.FindString(h.run(0, "", "places", "show", "--host", "id.example.net", "--profile", h.path("keys.json.jwt")))
	h.serves.set("id.example.net/.well-known/aspe/id/"+next[strings.LastIndex(next, ":")+1:], h.read("keys.json.jwt"))
	show(next)
	h.verify(0, "good: master key", "--bundle", h.path("bundle.json"), "--address", next)
	args := append([]string{"trust", "explain", "--user", placesUser, "--policy", h.path("policy.yaml"), "--places", "--bundle", "-"}, h.flags...)
	var out, errOut bytes.Buffer
	if code := cli.Run(t.Context(), args, strings.NewReader(bundle), &out, &errOut, nil); code != 0 || !strings.Contains(out.String(), "xsign none (first_use)") {
		t.Errorf("%q = %d:\n%s%s", args, code, out.String(), errOut.String())
	}
}
