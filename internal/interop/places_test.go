package interop_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/places"
	"github.com/imidentity/issuer/verdict"
)

const placesUser = "im:3h3aNq0mWk2o1c8vXfYJrg@example.com;id-type=user"

// A profileText is a profile for doipjs.
type profileText struct {
	Name    string `json:"name"`
	Text    string `json:"text"`
	Address string `json:"address"`
}

// TestPlacesOfOthers compares with doipjs, the library of Keyoxide: it reads our profiles and refuses the same wrong ones, and both find the
// same at the same places: ActivityPub actors, TXT records of a DNS server and repositories, each on loopback.
func TestPlacesOfOthers(t *testing.T) {
	user, err := claims.Parse(placesUser)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}

	var input struct {
		Profiles []profileText `json:"profiles"`
		Refused  []profileText `json:"refused"`
		Claims   []string      `json:"claims"`
		Port     int           `json:"port"`
		DNS      string        `json:"dns"`
	}
	// Of each kind, a place that shows the address of the first profile and one that does not. The second profile names the same places.
	uris := []string{
		"dns:alice.example?type=TXT", "dns:other.example", "dns:gone.example",
		"https://social.example/@alice", "https://social.example/users/other", "https://social.example/users/gone", "https://attached.example/@alice",
		"https://git.example/alice/forgejo_proof", "https://gitlab.example/alice/gitlab_proof", "https://gist.github.com/alice/0123456789abcdef",
		"https://down.example/@alice", "dns:down.example",
	}
	names := []string{"social.example", "attached.example", "git.example", "gitlab.example", "api.github.com", "gist.github.com", "down.example"}
	var profiles []*places.Profile
	for _, key := range []crypto.Signer{ed, p256} {
		p := &places.Profile{Name: "Alice", User: user}
		for _, uri := range uris {
			place, err := places.ParsePlace(uri)
			if err != nil {
				t.Fatal(err)
			}
			p.Places = append(p.Places, place)
		}
		text, err := p.Sign(key)
		if err != nil {
			t.Fatal(err)
		}
		if p, err = places.ParseProfile(text); err != nil {
			t.Fatal(err)
		}
		profiles = append(profiles, p)
		input.Profiles = append(input.Profiles, profileText{"", text, places.Address{Host: "id.example.net", Fingerprint: p.Fingerprint()}.String()})
		input.Claims = p.Claims()
	}
	shown := input.Profiles[0].Address
	input.Refused = refusedProfiles(t)

	web := placesServer(t, names, map[string]string{
		"social.example/@alice":                               actorOf("social.example", "<p>I am "+shown+"</p>", ""),
		"social.example/users/other":                          actorOf("social.example", "<p>Hello</p>", ""),
		"attached.example/@alice":                             actorOf("attached.example", "", shown),
		"git.example/api/v1/repos/alice/forgejo_proof":        `{"full_name":"alice/forgejo_proof","description":"` + shown + `"}`,
		"git.example/api/forgejo/v1/version":                  `{"version":"12.0.0"}`,
		"gitlab.example/api/v4/projects/alice%2Fgitlab_proof": `{"path_with_namespace":"alice/gitlab_proof","description":"` + shown + `"}`,
		"api.github.com/gists/0123456789abcdef":               `{"owner":{"login":"alice"},"files":{"proof.md":{"content":"# ` + shown + `\n"}}}`,
	})
	names53 := dnsServer(t, map[string][]string{"alice.example.": {"v=spf1 -all", shown}, "other.example.": {"v=spf1 -all"}, "down.example.": nil})
	input.Port, input.DNS = web.port, names53.String()

	cmd := node(t, t.Context(), "places.mjs", map[string]string{"NODE_EXTRA_CA_CERTS": web.ca})
	stdin, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stderr = bytes.NewReader(stdin), t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("places.mjs: %v", err)
	}
	var got struct {
		Profiles []struct {
			Fingerprint, Name string
			Claims            []string
			Verified          map[string]bool
		}
		Passed []string
		Made   []struct{ Text, Fingerprint string }
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Profiles) != len(profiles) || len(got.Passed) > 0 {
		t.Fatalf("doipjs read %d profiles, and did not refuse %q", len(got.Profiles), got.Passed)
	}

	reader := web.reader(t, names53)
	for i, p := range profiles {
		theirs := got.Profiles[i]
		if theirs.Fingerprint != p.Fingerprint() || theirs.Name != "Alice" || !slices.Equal(theirs.Claims, p.Claims()) {
			t.Errorf("doipjs read %+v, want %s and %q", theirs, p.Fingerprint(), p.Claims())
		}
		address, err := places.ParseAddress(input.Profiles[i].Address)
		if err != nil {
			t.Fatal(err)
		}
		report, err := places.Verify(places.Query{
			About: verdict.About{User: user}, Address: address, Profile: input.Profiles[i].Text, Looks: reader.Look(t.Context(), p.Places),
			Require: verdict.PlacesRequirements{Need: 2},
		}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		agree := map[string]bool{}
		for _, s := range report.Places {
			verified, matched := theirs.Verified[s.Place.URI]
			if !matched || verified != (s.State == places.Agrees) {
				t.Errorf("profile %d, %s: %s (%v), and by doipjs verified %t (%t)", i+1, s.Place.URI, s.State, s.Err, verified, matched)
			}
			if verified {
				agree[s.Place.Domain] = true
			}
			if down := strings.Contains(s.Place.URI, "down.example"); down != (s.State == places.Unreachable) {
				t.Errorf("profile %d, %s: %s (%v)", i+1, s.Place.URI, s.State, s.Err)
			}
		}
		want := verdict.None // one place is unreachable: too few for two
		if i == 0 {
			want = verdict.Good
		}
		if report.Verdict.User.Result != want || (len(agree) >= 2) != (want == verdict.Good) {
			t.Errorf("profile %d: %+v, and %d domains agree by doipjs", i+1, report.Verdict.User, len(agree))
		}
	}

	// An unreachable place is unknown.
	alone := places.Query{
		About: verdict.About{User: user}, Profile: input.Profiles[0].Text, Looks: reader.Look(t.Context(), profiles[0].Places[len(uris)-2:]),
		Require: verdict.PlacesRequirements{Need: 1},
	}
	alone.Address, _ = places.ParseAddress(shown)
	if report, err := places.Verify(alone, time.Now()); err != nil || report.Verdict.User.Result != verdict.Unknown {
		t.Errorf("Verify with unreachable places = %+v, %v", report, err)
	}

	if len(got.Made) != 2 {
		t.Errorf("jose made %d profiles, want 2", len(got.Made))
	}
	for _, made := range got.Made {
		p, err := places.ParseProfile(made.Text)
		if err != nil || p.Fingerprint() != made.Fingerprint || !slices.Equal(p.Claims(), input.Claims) {
			t.Errorf("ParseProfile = %+v, %v", p, err)
		}
	}
}

// refusedProfiles are the vectors of package places that doipjs must refuse, too: by key, signature, type and version.
func refusedProfiles(t *testing.T) []profileText {
	t.Helper()
	data, err := os.ReadFile("../../places/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Profiles []struct {
			Name, Text, Fingerprint string
			Code                    places.Code
		}
	}
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	var refused []profileText
	own := all.Profiles[0].Fingerprint
	for _, v := range all.Profiles {
		// These are refused here alone: doipjs reads no typ, and takes other curves, what a key is for, and a number for another spelling.
		mine := slices.Contains([]string{
			"type of an access token", "type of other keys", "no type", "type in lower case", "private key", "key for encryption", "certificate", "version 0.0",
		}, v.Name)
		if !mine && slices.Contains([]places.Code{places.CodeKey, places.CodeSignature, places.CodeType, places.CodeVersion}, v.Code) {
			refused = append(refused, profileText{v.Name, v.Text, "aspe:id.example.net:" + own})
		}
	}
	if len(refused) < 12 {
		t.Fatalf("%d refused profiles, want at least 12", len(refused))
	}
	return refused
}

func actorOf(host, summary, attached string) string {
	return fmt.Sprintf(`{"@context":"https://www.w3.org/ns/activitystreams","type":"Person","id":"https://%s/users/alice","preferredUsername":"alice",`+
		`"summary":%q,"attachment":[{"type":"PropertyValue","name":"Key","value":%q}]}`, host, summary, attached)
}

// A placesWeb is a server for several hosts.
type placesWeb struct {
	ca    string
	port  int
	names []string
}

// placesServer serves bodies by host and path, and fails for down.example.
func placesServer(t *testing.T, names []string, bodies map[string]string) *placesWeb {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := bodies[r.Host+r.URL.EscapedPath()]
		switch {
		case r.Host == "down.example":
			panic(http.ErrAbortHandler)
		case !ok:
			w.WriteHeader(http.StatusNotFound)
		default:
			w.Header().Set("Content-Type", "application/json")
			if strings.Contains(r.Header.Get("Accept"), "application/activity+json") {
				w.Header().Set("Content-Type", "application/activity+json")
			}
			_, _ = w.Write([]byte(body))
		}
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return &placesWeb{ca, s.Listener.Addr().(*net.TCPAddr).Port, names}
}

// reader is the strictest reader but for where the names lead.
func (w *placesWeb) reader(t *testing.T, dns net.Addr) *places.Reader {
	t.Helper()
	policy := fetch.Policy{DevHosts: map[string]string{}, CAFile: w.ca, MaxBody: places.MaxAnswer}
	for _, name := range w.names {
		policy.DevHosts[name] = fmt.Sprint("127.0.0.1:", w.port)
	}
	client, err := fetch.NewForeignClient(policy)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", dns.String())
	}}
	reader, err := places.NewReader(places.ReaderConfig{Client: client, Resolver: resolver})
	if err != nil {
		t.Fatal(err)
	}
	return reader
}

// dnsServer answers questions for TXT records by UDP. Other names do not exist, and one with nil fails.
func dnsServer(t *testing.T, txt map[string][]string) net.Addr {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if err := m.Unpack(buf[:n]); err != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			reply := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true}, Questions: m.Questions}
			list, known := txt[strings.ToLower(q.Name.String())]
			switch {
			case !known:
				reply.RCode = dnsmessage.RCodeNameError
			case list == nil:
				reply.RCode = dnsmessage.RCodeServerFailure
			case q.Type == dnsmessage.TypeTXT:
				for _, text := range list {
					reply.Answers = append(reply.Answers, dnsmessage.Resource{
						Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}, Body: &dnsmessage.TXTResource{TXT: []string{text}},
					})
				}
			}
			if packed, err := reply.Pack(); err == nil {
				_, _ = conn.WriteTo(packed, from)
			}
		}
	}()
	return conn.LocalAddr()
}
