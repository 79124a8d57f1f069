package interop_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cwt"
	"github.com/imidentity/issuer/credential/mls"
	"github.com/imidentity/issuer/statuslist"
)

const mlsCWTSteps = `the key package holds the structure of the draft: true []
two clients form a group: true, Hello Bob, Hello Alice [@bob@example.com; @alice@example.com]
a wrong leaf key cannot be added: ValidationError: Could not validate credential [signature_key wrong_key]
a wrong leaf key in the commit of a careless member: ValidationError: Could not validate credential [signature_key wrong_key]
a removed device cannot be added: ValidationError: Could not validate credential [ended]`

// npm ts-mls runs a group with our SD-CWTs, the type 5, as the draft frames them.
func TestMLSGroupOfCWTs(t *testing.T) {
	t.Parallel()
	s := mlsCWTService{newMLSService(t, 1)}
	routes := http.NewServeMux()
	routes.HandleFunc("POST /device", answer(t, s.device))
	routes.HandleFunc("POST /remove", answer(t, s.remove))
	routes.HandleFunc("POST /validate", answer(t, s.validate))
	server := httptest.NewServer(routes)
	t.Cleanup(server.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // of what hangs
	defer cancel()
	script := node(t, ctx, "mlscwt.mjs", map[string]string{"SERVICE": server.URL})
	script.Stderr = t.Output()
	printed, err := script.Output()
	if err != nil {
		t.Fatalf("mlscwt.mjs: %v, after\n%s", err, printed)
	}
	if got := strings.TrimSpace(string(printed)); got != mlsCWTSteps {
		t.Errorf("mlscwt.mjs printed\n%s\nwant\n%s", got, mlsCWTSteps)
	}
}

// An mlsCWTService has the issuer, the status list and the members' authentication service.
type mlsCWTService struct{ *mlsService }

type mlsCWTDevice struct {
	Private    []byte `json:"private"`
	Public     []byte `json:"public"`
	CWT        []byte `json:"cwt"`
	Credential []byte `json:"credential"` // the whole structure, with the CWT in it
}

func (s mlsCWTService) device(_ context.Context, in struct{ Name string }) (d mlsCWTDevice, err error) {
	key, private, err := s.key(nil)
	if err != nil {
		return d, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	index := uint64(len(s.entries))
	s.entries[in.Name] = index
	issuer, err := cwt.NewSigner("k1", "ES256", s.issuer)
	if err != nil {
		return d, err
	}
	vc := cwt.VC{
		Issuer: mlsIssuer, ID: in.Name, Key: key.Public(), IssuedAt: s.now.Add(-time.Hour), Expires: s.now.Add(30 * 24 * time.Hour),
		Device: "im:" + in.Name + "/1@example.com", User: "im:" + in.Name + "@example.com;id-type=user",
		Handle: "im:%40" + in.Name + "@example.com",
		Status: &statuslist.Reference{Index: index, URI: s.list},
	}
	issued, err := vc.Sign(issuer)
	if err != nil {
		return d, err
	}
	c, err := mls.BindSDCWT(issued, key, s.suite, "", s.now)
	if err != nil {
		return d, err
	}
	wire, err := c.Marshal()
	return mlsCWTDevice{private, key.Public().(ed25519.PublicKey), c.CWT, wire}, err
}

func (s mlsCWTService) remove(ctx context.Context, in struct{ Name string }) (struct{}, error) {
	return s.status(ctx, struct {
		Name   string
		Status statuslist.Status
	}{in.Name, statuslist.Invalid})
}

func (s mlsCWTService) validate(ctx context.Context, in struct {
	Type     uint16
	CWT, Key []byte
}) (mlsAnswer, error) {
	c := &mls.Credential{Type: mls.Type(in.Type), CWT: in.CWT}
	leaf := mls.Leaf{CipherSuite: s.suite, SignatureKey: in.Key, Room: mlsRoom, FromKeyPackage: true}
	got, err := mls.Validate(ctx, c, leaf, mls.Options{
		Options:   credential.Options{Issuers: s.table, Status: s.reader, Now: s.time, Development: true},
		Verifiers: map[mls.Type]mls.Verifier{mls.SDCWT: mls.VerifySDCWT},
	})
	var refused *credential.Error
	switch {
	case err == nil:
		return mlsAnswer{true, got.Identity.Handle.Native()}, nil
	case errors.As(err, &refused):
		return mlsAnswer{false, strings.TrimSpace(refused.Part + " " + string(refused.Code))}, nil
	}
	return mlsAnswer{}, err
}
