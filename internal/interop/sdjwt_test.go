package interop_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/sdjwt"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/trust"
)

const (
	vcIssuer = "https://im-id.example.net"
	vcUser   = "im:3h3aNq0mWk2o1c8vXfYJrg@example.com;id-type=user"
	vcDevice = "im:3h3aNq0mWk2o1c8vXfYJrg/072b@example.com"
	vcHandle = "im:%40alice@example.com"
)

// vcParty is a key for sdjwt.mjs.
type vcParty struct {
	Alg string `json:"alg"`
	Kid string `json:"kid,omitempty"`
	Key string `json:"key"`
}

func newVCParty(t *testing.T, alg, kid string, key crypto.Signer) vcParty {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return vcParty{alg, kid, base64.StdEncoding.EncodeToString(der)}
}

// vcOutput is what sdjwt.mjs prints.
type vcOutput struct {
	Verified []struct {
		Payload, Header, KB map[string]any
		Error               string
	}
	Presented, Issued []string
	List              string
}

// npm @sd-jwt/sd-jwt-vc verifies our presentations by our status list, and refuses what is wrong with them; we verify presentations that
// it made of our credential and of its own, by its status list.
func TestSDJWTOfOthers(t *testing.T) {
	for _, alg := range []string{"ES256", "EdDSA"} {
		t.Run(alg, func(t *testing.T) { testSDJWT(t, alg) })
	}
}

func testSDJWT(t *testing.T, alg string) {
	holder := signers[alg]
	if alg == "ES256" { // not the issuer's
		holder = newKeyring()[alg]
	}
	now := time.Now()
	// The status list of the other library; entries 0 to 3 have the statuses 0 to 3, as in ours.
	var theirs string
	lists := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", statuslist.MediaType)
		fmt.Fprint(w, theirs)
	}))
	defer lists.Close()
	uri := lists.URL + "/status/7"
	list, err := statuslist.New(2, 1<<10)
	for i := range statuslist.Status(4) {
		err = errors.Join(err, list.Set(uint64(i), i))
	}
	token := statuslist.Token{Issuer: vcIssuer, Subject: uri, IssuedAt: now, Expires: now.Add(time.Hour), TTL: time.Minute, List: list}
	ours, signErr := token.Sign(es256{signers})
	if err := errors.Join(err, signErr); err != nil {
		t.Fatal(err)
	}

	vc := sdjwt.VC{
		Issuer: vcIssuer, ID: "c1", Device: vcDevice, User: vcUser, Handle: vcHandle, Key: holder.Public(),
		IssuedAt: now, Expires: now.Add(30 * 24 * time.Hour), Status: &statuslist.Reference{URI: uri},
	}
	binding := sdjwt.Binding{Audience: "https://verifier.example.org", Nonce: "n-0S6_WzA2Mj"}
	present := func(vc sdjwt.VC, disclose ...string) string {
		t.Helper()
		issued, err := vc.Sign(es256{signers}, nil)
		if err != nil {
			t.Fatal(err)
		}
		token, err := sdjwt.Parse(issued)
		if err != nil {
			t.Fatal(err)
		}
		text, err := token.Present(holder, binding, now, disclose...)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	issued, err := vc.Sign(es256{signers}, nil)
	if err != nil {
		t.Fatal(err)
	}
	noHandle := vc
	noHandle.Handle = ""
	shown := present(vc, "handle")
	parts := strings.Split(shown, "~")
	otherHandle := base64.RawURLEncoding.EncodeToString([]byte(`["c2FsdA","handle","im:%40bob@example.com"]`))
	type question struct {
		Text   string `json:"text"`
		Nonce  string `json:"nonce"`
		handle any
		refuse string // a part of the error
	}
	withStatus := func(index uint64) string {
		vc := vc
		vc.Status = &statuslist.Reference{Index: index, URI: uri}
		return present(vc, "handle")
	}
	questions := []question{
		{shown, binding.Nonce, vcHandle, ""},
		{present(vc), binding.Nonce, nil, ""},
		{present(noHandle), binding.Nonce, nil, ""},
		{shown, "another", nil, "Invalid Nonce"},
		{strings.Join([]string{parts[0], parts[2]}, "~"), binding.Nonce, nil, "sd_hash"},              // the handle is taken out
		{strings.Join([]string{parts[0], otherHandle, parts[2]}, "~"), binding.Nonce, nil, "sd_hash"}, // or another one put in
		{strings.Join([]string{parts[0], parts[1], ""}, "~"), binding.Nonce, nil, "Key Binding JWT not exist"},
		{withStatus(1), binding.Nonce, nil, "Status is not valid"},
		{withStatus(uint64(credential.StatusHandleEnded)), binding.Nonce, nil, "Status is not valid"},
	}

	jwk, err := jose.MarshalJWK(holder.Public())
	if err != nil {
		t.Fatal(err)
	}
	claims := map[string]any{
		"iss": vcIssuer, "vct": credential.VCT, "sub": vcDevice, "user": vcUser, "handle": vcHandle, "jti": "c2",
		"iat": now.Unix(), "exp": now.Add(24 * time.Hour).Unix(), "cnf": map[string]any{"jwk": json.RawMessage(jwk)},
		"status": map[string]any{"status_list": map[string]any{"idx": 3, "uri": uri}},
	}
	input, err := json.Marshal(map[string]any{
		"issuer": newVCParty(t, "ES256", "k1", signers["ES256"]), "holder": newVCParty(t, alg, "", holder),
		"binding": map[string]any{"aud": binding.Audience, "nonce": binding.Nonce, "iat": now.Unix()},
		"verify":  questions, "present": issued, "issue": claims, "list": ours, "statuses": []int{0, 1, 2, 3},
	})
	if err != nil {
		t.Fatal(err)
	}
	script := node(t, t.Context(), "sdjwt.mjs", map[string]string{"INPUT": string(input)})
	script.Stderr = t.Output()
	out, err := script.Output()
	if err != nil {
		t.Fatalf("sdjwt.mjs: %v", err)
	}
	var got vcOutput
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}

	// It verifies ours.
	if len(got.Verified) != len(questions) {
		t.Fatalf("%d answers, want %d", len(got.Verified), len(questions))
	}
	for i, v := range got.Verified {
		q := questions[i]
		switch {
		case q.refuse != "":
			if !strings.Contains(v.Error, q.refuse) {
				t.Errorf("presentation %d: the library says %q, want %q", i, v.Error, q.refuse)
			}
		case v.Error != "" || v.Payload["handle"] != q.handle || v.Payload["sub"] != vcDevice || v.Payload["user"] != vcUser ||
			v.Header["typ"] != "dc+sd-jwt" || v.KB["aud"] != binding.Audience:
			t.Errorf("presentation %d: the library reads %+v", i, v)
		}
	}

	// We verify its.
	theirs = got.List
	verify := newVCVerifier(t, lists.Client(), binding)
	for i, text := range got.Presented {
		c, err := verify(text)
		if handle := []string{vcHandle, ""}[i]; err != nil || c.Identity.Handle.String() != handle || c.ID != "c1" || !c.Checked {
			t.Errorf("its presentation %d of our credential = %+v, %v", i, c, err)
		}
	}
	for i, text := range got.Issued {
		c, err := verify(text)
		if i == 0 { // the credential itself
			if !errors.Is(err, credential.CodeNoBinding) {
				t.Errorf("its credential = %+v, %v, want %s", c, err, credential.CodeNoBinding)
			}
			continue
		}
		// Its list says that the handle has ended.
		former := []string{"", vcHandle, "", ""}[i]
		if err != nil || c.ID != "c2" || !c.HandleEnded || c.FormerHandle.String() != former || c.Identity.Device.String() != vcDevice {
			t.Errorf("its presentation %d of its credential = %+v, %v", i, c, err)
		}
	}
	wrong := binding
	wrong.Nonce = "another"
	if _, err := newVCVerifier(t, lists.Client(), wrong)(got.Presented[0]); !errors.Is(err, credential.CodeNonce) {
		t.Errorf("Verify with another nonce = %v", err)
	}
	parts = strings.Split(got.Presented[0], "~")
	if _, err := verify(strings.Join([]string{parts[0], parts[2]}, "~")); !errors.Is(err, credential.CodeHash) {
		t.Errorf("Verify without the disclosure = %v", err)
	}
	if _, err := verify(strings.Join([]string{parts[0], otherHandle, parts[2]}, "~")); !errors.Is(err, credential.CodeDisclosure) {
		t.Errorf("Verify with another disclosure = %v", err)
	}
}

// newVCVerifier returns a verifier that trusts the issuer for example.com, and reads its status list.
func newVCVerifier(t *testing.T, client *http.Client, binding sdjwt.Binding) func(text string) (credential.Credential, error) {
	t.Helper()
	jwk, err := jose.MarshalJWK(signers["ES256"].Public())
	if err != nil {
		t.Fatal(err)
	}
	table, err := trust.NewTable(trust.Config{
		Peers: []trust.Peer{{
			Domain: "example.com", Issuer: vcIssuer, JWKS: fmt.Appendf(nil, `{"keys":[{"kid":"k1","alg":"ES256",%s]}`, jwk[1:]),
		}},
		Development: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	reader, err := statuslist.NewReader(statuslist.ReaderConfig{Keys: table, Client: client, Bits: 2})
	if err != nil {
		t.Fatal(err)
	}
	o := sdjwt.Options{Options: credential.Options{Issuers: table, Status: reader, Development: true}, Binding: &binding}
	return func(text string) (credential.Credential, error) { return sdjwt.Verify(context.Background(), text, o) }
}
