package interop_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cwt"
	"github.com/imidentity/issuer/credential/mls"
	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/trust"
)

// An sdCWTService is the authentication service of mlsissued.mjs. It trusts a running issuer, and asks it for nothing but keys and lists.
type sdCWTService struct {
	*certifier
	table   *trust.Table
	devices map[string]sdCWTDevice // by name
}

// An sdCWTDevice is a device with its MLS credential and the key in it.
type sdCWTDevice struct {
	Private    []byte `json:"private"`
	Public     []byte `json:"public"`
	Credential []byte `json:"credential"`

	id claims.ID
}

// TestMLSIssuedCWTs has npm ts-mls form a group with CWTs of a running issuer, in leaves of the type sd_cwt. A removed device is out.
func TestMLSIssuedCWTs(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // of what hangs
	defer cancel()
	s := &sdCWTService{certifier: startCertifier(t, ctx, "im"), devices: make(map[string]sdCWTDevice)}
	var err error
	s.table, err = trust.NewTable(trust.Config{
		Peers: []trust.Peer{{Domain: "example.com", Issuer: s.issuer}}, Client: http.DefaultClient, Development: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	routes := http.NewServeMux()
	routes.HandleFunc("POST /device", answer(t, func(ctx context.Context, in struct{ Name string }) (sdCWTDevice, error) {
		return s.device(t, ctx, in.Name), nil
	}))
	routes.HandleFunc("POST /validate", answer(t, s.validate))
	routes.HandleFunc("POST /revoke", answer(t, func(ctx context.Context, in struct{ Name string }) (struct{}, error) {
		s.run(t, ctx, "devices", "remove", s.device(t, ctx, in.Name).id.Device(), "--data", s.data, "--reason", "lost")
		return struct{}{}, nil
	}))
	server := httptest.NewServer(routes)
	t.Cleanup(server.Close)
	script := node(t, ctx, "mlsissued.mjs", map[string]string{"SERVICE": server.URL})
	script.Stderr = t.Output()
	printed, err := script.Output()
	if err != nil {
		t.Fatalf("mlsissued.mjs: %v, after\n%s", err, printed)
	}
	if got := strings.TrimSpace(string(printed)); got != sdCWTSteps {
		t.Errorf("mlsissued.mjs printed\n%s\nwant\n%s", got, sdCWTSteps)
	}
}

const sdCWTSteps = `two clients form a group: Hello Bob [@bob@example.com; @alice@example.com]
the credential of another: ValidationError: Could not validate credential [signature_key wrong_key]
a removed device: ValidationError: Could not validate credential [ended]`

// device returns the device of a name, which gets a CWT for a new key. Names that nobody has stand for other devices of Bob.
func (s *sdCWTService) device(t *testing.T, ctx context.Context, name string) sdCWTDevice {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.devices[name]; ok {
		return known
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	person := "bob"
	if name == "alice" {
		person = name
	}
	list, id := s.login(t, ctx, person, private, "im-device-cwt")
	data, err := cwt.ReadText(list[0])
	if err != nil {
		t.Fatal(err)
	}
	// The credential of a KeyPackage is for the domain of the device.
	bound, err := mls.BindSDCWT(data, private, 1, "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	wire, err := bound.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	s.devices[name] = sdCWTDevice{private.Seed(), public, wire, id}
	return s.devices[name]
}

// validate answers about a leaf, with a status list that it fetches anew.
func (s *sdCWTService) validate(ctx context.Context, in mlsLeaf) (mlsAnswer, error) {
	shown, err := mls.Parse(in.Credential)
	if err != nil {
		return mlsAnswer{}, err
	}
	reader, err := statuslist.NewReader(statuslist.ReaderConfig{Keys: s.table, Client: http.DefaultClient, Bits: 2, AllowHTTP: true})
	if err != nil {
		return mlsAnswer{}, err
	}
	got, err := mls.Validate(ctx, shown, mls.Leaf{CipherSuite: 1, SignatureKey: in.Key, Room: mlsRoom, FromKeyPackage: true}, mls.Options{
		Options:   credential.Options{Issuers: s.table, Status: reader, Development: true},
		Verifiers: map[mls.Type]mls.Verifier{mls.SDCWT: mls.VerifySDCWT},
	})
	return leafAnswer(got, err)
}

// leafAnswer tells the library what was found of a leaf.
func leafAnswer(got credential.Credential, err error) (mlsAnswer, error) {
	var refused *credential.Error
	switch {
	case err == nil:
		return mlsAnswer{true, got.Identity.Handle.Native()}, nil
	case errors.As(err, &refused):
		return mlsAnswer{false, strings.TrimSpace(refused.Part + " " + string(refused.Code))}, nil
	}
	return mlsAnswer{}, err
}
