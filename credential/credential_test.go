package credential_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/trust"
)

const issuer = "https://id.example.net"

var (
	now   = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	names = credential.Names{User: "user", Handle: "handle", Device: "sub"}
)

// An authority is an issuer that speaks for example.com, with one key and a status list whose entries have the statuses 0 to 3.
type authority struct {
	key    ed25519.PrivateKey
	table  *trust.Table
	reader *statuslist.Reader
	list   *httptest.Server
}

func (a *authority) Sign(typ string, payload []byte) (string, error) {
	return jose.Sign(a.key, jose.EdDSA, fmt.Appendf(nil, `{"typ":%q,"alg":"EdDSA","kid":"k1"}`, typ), payload)
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: private}
	jwk, err := jose.MarshalJWK(public)
	if err != nil {
		t.Fatal(err)
	}
	set := fmt.Appendf(nil, `{"keys":[{"kid":"k1",%s]}`, jwk[1:])
	a.table, err = trust.NewTable(trust.Config{
		Peers: []trust.Peer{{Domain: "example.com", Issuer: issuer, JWKS: set}}, Development: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	a.list = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		list, err := statuslist.New(2, 1024)
		for i := range statuslist.Status(4) {
			err = errors.Join(err, list.Set(uint64(i), i))
		}
		token := statuslist.Token{
			Issuer: issuer, Subject: "https://" + r.Host + r.URL.Path, IssuedAt: now, Expires: now.Add(time.Hour), TTL: time.Hour, List: list,
		}
		signed, signErr := token.Sign(a)
		if errors.Join(err, signErr) != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", statuslist.MediaType)
		fmt.Fprint(w, signed)
	}))
	t.Cleanup(a.list.Close)
	a.reader, err = statuslist.NewReader(statuslist.ReaderConfig{
		Keys: a.table, Client: a.list.Client(), Bits: 2, Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) options() credential.Options {
	return credential.Options{Issuers: a.table, Status: a.reader, Now: func() time.Time { return now }, Development: true}
}

func (a *authority) credential(t *testing.T, o *credential.Options, status uint64) credential.Credential {
	t.Helper()
	id, err := o.Parse(names, "im:u@example.com;id-type=user", "im:%40alice@example.com", "im:u/72b@example.com")
	if err != nil {
		t.Fatal(err)
	}
	return credential.Credential{
		Format: credential.SDJWT, ID: "c1", Issuer: issuer, Identity: id, From: now.Add(-time.Hour), Until: now.Add(time.Hour),
		Status: &statuslist.Reference{Index: status, URI: a.list.URL + "/status/1"},
	}
}

// Each rule refuses with its code and names the part.
func TestCheck(t *testing.T) {
	a := newAuthority(t)
	for name, c := range map[string]struct {
		change func(*credential.Options, *credential.Credential)
		part   string
		want   error
	}{
		"good": {func(*credential.Options, *credential.Credential) {}, "", nil},
		"unknown issuer": {func(_ *credential.Options, c *credential.Credential) { c.Issuer = "https://other.example.net" }, "iss",
			credential.CodeIssuer},
		"foreign domain": {func(o *credential.Options, c *credential.Credential) {
			c.Identity, _ = o.Parse(names, "", "", "im:u/72b@example.org")
		}, "iss", credential.CodeDomain},
		"device of another": {func(o *credential.Options, c *credential.Credential) {
			c.Identity, _ = o.Parse(names, "im:u@example.com;id-type=user", "", "im:v/72b@example.com")
		}, "sub", credential.CodeClaim},
		"reserved domain": {func(o *credential.Options, _ *credential.Credential) { o.Development = false }, "user", claims.CodeReservedDomain},
		"no identifier":   {func(_ *credential.Options, c *credential.Credential) { c.Identity = claims.Identity{} }, "user", claims.ErrMissing},
		"early":           {func(_ *credential.Options, c *credential.Credential) { c.From = now.Add(time.Second) }, "", credential.CodeNotYetValid},
		"early, within leeway": {func(o *credential.Options, c *credential.Credential) {
			c.From, o.Leeway = now.Add(time.Second), time.Second
		}, "", nil},
		"expired": {func(_ *credential.Options, c *credential.Credential) { c.Until = now }, "", credential.CodeExpired},
		"expired, within leeway": {func(o *credential.Options, c *credential.Credential) {
			c.Until, o.Leeway = now, time.Second
		}, "", nil},
		"ends before it begins": {func(_ *credential.Options, c *credential.Credential) { c.Until = c.From }, "exp", credential.CodeClaim},
		"lives too long": {func(_ *credential.Options, c *credential.Credential) {
			c.Until = c.From.Add(credential.MaxLife + time.Second)
		}, "exp", credential.CodeClaim},
		"no status":        {func(_ *credential.Options, c *credential.Credential) { c.Status = nil }, "", nil},
		"ended":            {func(_ *credential.Options, c *credential.Credential) { c.Status.Index = 1 }, "", credential.CodeEnded},
		"unused":           {func(_ *credential.Options, c *credential.Credential) { c.Status.Index = 2 }, "status", credential.CodeStatus},
		"status unchecked": {func(o *credential.Options, _ *credential.Credential) { o.Status = nil }, "status", credential.CodeUnchecked},
		"status not asked": {func(o *credential.Options, c *credential.Credential) {
			o.Status, o.Unchecked, c.Status.Index = nil, true, 1
		}, "", nil},
		"outside the list": {func(_ *credential.Options, c *credential.Credential) { c.Status.Index = 1024 }, "", statuslist.ErrIndex},
		"ended and expired": {func(_ *credential.Options, c *credential.Credential) {
			c.Status.Index, c.Until = 1, now
		}, "", credential.CodeExpired},
	} {
		t.Run(name, func(t *testing.T) {
			o := a.options()
			got := a.credential(t, &o, 0)
			c.change(&o, &got)
			err := o.Check(context.Background(), names, &got)
			if !errors.Is(err, c.want) {
				t.Fatalf("Check = %v, want %v", err, c.want)
			}
			refused := (*credential.Error)(nil)
			if errors.As(err, &refused) && refused.Part != c.part {
				t.Errorf("Check refused %q, want %q", refused.Part, c.part)
			}
			if isRefusal := refused != nil; isRefusal == errors.Is(err, statuslist.ErrUnknown) && err != nil {
				t.Errorf("Check = %v: a refusal, or unknown?", err)
			}
			if got.Checked != (err == nil && got.Status != nil && !o.Unchecked || errors.Is(err, credential.CodeEnded) ||
				errors.Is(err, credential.CodeStatus)) {
				t.Errorf("Checked = %t after %v", got.Checked, err)
			}
		})
	}
}

// A handle that has ended leaves device and user, and is not shown as the handle.
func TestHandleEnded(t *testing.T) {
	a := newAuthority(t)
	o := a.options()
	c := a.credential(t, &o, uint64(credential.StatusHandleEnded))
	handle := c.Identity.Handle
	if err := o.Check(context.Background(), names, &c); err != nil {
		t.Fatalf("Check = %v", err)
	}
	if !c.HandleEnded || c.FormerHandle != handle || !c.Identity.Handle.IsZero() || c.Identity.Device.IsZero() || c.Identity.User.IsZero() {
		t.Errorf("Check made %+v", c)
	}
	if c.Client().Handle != handle {
		t.Errorf("Client = %+v, want the handle %v", c.Client(), handle)
	}
}

// An outage is not a refusal.
func TestUnreachable(t *testing.T) {
	a := newAuthority(t)
	a.list.Close()
	o := a.options()
	c := a.credential(t, &o, 1)
	err := o.Check(context.Background(), names, &c)
	if refused := (*credential.Error)(nil); !errors.Is(err, statuslist.ErrUnreachable) || errors.As(err, &refused) || credential.Stands(err) {
		t.Errorf("Check = %v, want an error that is no refusal", err)
	}
}

// Only an end in time or by status leaves the credential standing.
func TestStands(t *testing.T) {
	for err, want := range map[error]bool{
		nil: true, &credential.Error{Code: credential.CodeExpired}: true, &credential.Error{Code: credential.CodeEnded}: true,
		&credential.Error{Code: credential.CodeSignature}: false, statuslist.ErrUnreachable: false,
	} {
		if got := credential.Stands(err); got != want {
			t.Errorf("Stands(%v) = %t", err, got)
		}
	}
}

// A signature is of a key of the issuer, or refused; an issuer that is not trusted is refused by its name.
func TestVerifySignature(t *testing.T) {
	a := newAuthority(t)
	o := a.options()
	token, err := a.Sign("dc+sd-jwt", json.RawMessage(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	jws, err := jose.ParseCompact(token, jose.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	never := func(string, crypto.PublicKey) error { return jose.ErrSignature }
	for name, c := range map[string]struct {
		issuer, kid string
		verify      func(string, crypto.PublicKey) error
		want        error
	}{
		"good":           {issuer, "k1", jws.Verify, nil},
		"unknown issuer": {"https://other.example.net", "k1", jws.Verify, credential.CodeIssuer},
		"unknown key":    {issuer, "k2", jws.Verify, credential.CodeIssuer},
		"another key":    {issuer, "k1", never, credential.CodeSignature},
	} {
		if err := o.VerifySignature(context.Background(), c.issuer, c.kid, c.verify); !errors.Is(err, c.want) {
			t.Errorf("%s: VerifySignature = %v, want %v", name, err, c.want)
		}
	}
}
