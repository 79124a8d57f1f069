package interop_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cwt"
	"github.com/imidentity/issuer/credential/mls"
	"github.com/imidentity/issuer/credential/sdjwt"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/trust"
)

const (
	mlsIssuer = "https://id.example.com"
	mlsRoom   = "mimi://example.com/r/clubhouse"
)

// npm ts-mls runs a group with our credentials, and package mls is its authentication service. It does not know the type sd_jwt, so
// mls.mjs frames them in the form that it expects (docs/divergences.md).
func TestMLSGroup(t *testing.T) {
	t.Parallel()
	for name, suite := range map[string]mls.CipherSuite{
		"MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519": 1, "MLS_128_DHKEMP256_AES128GCM_SHA256_P256": 2,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := newMLSService(t, suite)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // of what hangs
			defer cancel()
			script := node(t, ctx, "mls.mjs", map[string]string{"SERVICE": service.url, "SUITE": name})
			script.Stderr = t.Output()
			printed, err := script.Output()
			if err != nil {
				t.Fatalf("mls.mjs: %v, after\n%s", err, printed)
			}
			if got := strings.TrimSpace(string(printed)); got != mlsSteps {
				t.Errorf("mls.mjs printed\n%s\nwant\n%s", got, mlsSteps)
			}
		})
	}
}

const mlsSteps = `two clients form a group: true, Hello Bob, Hello Alice [@bob@example.com; @alice@example.com]
a third joins: true [@carol@example.com; @bob@example.com; @alice@example.com]
a member has an SD-CWT: true, Hello Bob, sd_cwt as in the draft, sd_jwt in another form [@grace@example.com; @alice@example.com; @bob@example.com; @carol@example.com]
a wrong leaf key cannot be added: ValidationError: Could not validate credential [signature_key wrong_key]
a wrong leaf key in the commit of a careless member: ValidationError: Could not validate credential [signature_key wrong_key]
an unknown type: ValidationError: Could not validate credential [credential_type wrong_type]
a member joins by itself: true, Hello all [@alice@example.com; @bob@example.com; @carol@example.com; @grace@example.com; @dave@example.com]
a member gets a new credential: true, true, true, Hello again [@alice@example.com; @bob@example.com; @carol@example.com; @grace@example.com; @dave@example.com]
a successor that is another device: false, mls: not the same client, or changed without a record of it []
bound to another room: ValidationError: Could not validate credential [@alice@example.com; @bob@example.com; @carol@example.com; @grace@example.com; @dave@example.com; key binding wrong_audience]
a renamed person stays: true, It is still me [formerly @alice@example.com]
the commit of a removed device: ValidationError: Could not validate credential [ended]
its commit without a path: 2, reject [@frank@example.com; formerly @alice@example.com; @bob@example.com; ended; @grace@example.com; @dave@example.com]
its member is removed: true, Without Carol, false []
it cannot be added again: ValidationError: Could not validate credential [ended]`

// An mlsService is an issuer with a status list, the devices with their keys, and the members' authentication service. It is of the members
// alone: in a real group, each of them runs package mls.
type mlsService struct {
	t      *testing.T
	suite  mls.CipherSuite
	url    string
	issuer crypto.Signer
	list   string // URI of the status list
	table  *trust.Table
	reader *statuslist.Reader

	mu       sync.Mutex
	now      time.Time
	statuses *statuslist.List
	entries  map[string]uint64 // by device
}

func newMLSService(t *testing.T, suite mls.CipherSuite) *mlsService {
	s := &mlsService{t: t, suite: suite, issuer: signers["ES256"], now: time.Now(), entries: make(map[string]uint64)}
	jwk, err := jose.MarshalJWK(s.issuer.Public())
	if err != nil {
		t.Fatal(err)
	}
	s.table, err = trust.NewTable(trust.Config{Development: true, Peers: []trust.Peer{
		{Domain: "example.com", Issuer: mlsIssuer, JWKS: fmt.Appendf(nil, `{"keys":[{"kid":"k1",%s]}`, jwk[1:])},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if s.statuses, err = statuslist.New(2, 1<<10); err != nil {
		t.Fatal(err)
	}
	lists := httptest.NewTLSServer(http.HandlerFunc(s.serveList))
	t.Cleanup(lists.Close)
	s.list = lists.URL + "/status/1"
	s.reader, err = statuslist.NewReader(statuslist.ReaderConfig{Keys: s.table, Client: lists.Client(), Bits: 2, Now: s.time})
	if err != nil {
		t.Fatal(err)
	}
	routes := http.NewServeMux()
	routes.HandleFunc("POST /device", answer(t, s.device))
	routes.HandleFunc("POST /status", answer(t, s.status))
	routes.HandleFunc("POST /validate", answer(t, s.validate))
	routes.HandleFunc("POST /successor", answer(t, s.successor))
	server := httptest.NewServer(routes)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// answer serves a function from JSON to JSON.
func answer[In, Out any](t *testing.T, f func(context.Context, In) (Out, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in In
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &in)
		}
		var out Out
		if err == nil {
			out, err = f(r.Context(), in)
		}
		if err != nil {
			t.Errorf("%s %s: %v", r.URL.Path, body, err)
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if err := json.NewEncoder(w).Encode(out); err != nil {
			t.Error(err)
		}
	}
}

func (s *mlsService) time() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// Sign signs as the issuer.
func (s *mlsService) Sign(typ string, payload []byte) (string, error) {
	return jose.Sign(s.issuer, jose.ES256, fmt.Appendf(nil, `{"typ":%q,"alg":"ES256","kid":"k1"}`, typ), payload)
}

func (s *mlsService) serveList(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	token := statuslist.Token{
		Issuer: mlsIssuer, Subject: s.list, IssuedAt: s.now, Expires: s.now.Add(time.Hour), TTL: time.Minute, List: s.statuses,
	}
	signed, err := token.Sign(s)
	if err != nil {
		s.t.Error(err)
	}
	w.Header().Set("Content-Type", statuslist.MediaType)
	_, _ = io.WriteString(w, signed)
}

// An mlsDevice is a device with the key that it has in the group, and with its credential.
type mlsDevice struct {
	Private []byte `json:"private"` // seed, or scalar
	Public  []byte `json:"public"`  // as in a leaf
	// Credential and CWT are whole structures, of the types sd_jwt and sd_cwt.
	Credential []byte `json:"credential"`
	CWT        []byte `json:"cwt"`
}

// device makes the key of a device, and a credential for it.
func (s *mlsService) device(_ context.Context, in struct {
	Name, Room string
	Key        []byte // private; a new one if empty
}) (mlsDevice, error) {
	key, private, err := s.key(in.Key)
	if err != nil {
		return mlsDevice{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	index, ok := s.entries[in.Name]
	if !ok {
		index = uint64(len(s.entries))
		s.entries[in.Name] = index
	}
	vc := sdjwt.VC{
		Issuer: mlsIssuer, ID: in.Name, Key: key.Public(), IssuedAt: s.now.Add(-time.Hour), Expires: s.now.Add(30 * 24 * time.Hour),
		Device: "im:" + in.Name + "/1@example.com", User: "im:" + in.Name + "@example.com;id-type=user",
		Handle: "im:%40" + in.Name + "@example.com",
		Status: &statuslist.Reference{Index: index, URI: s.list},
	}
	text, err := vc.Sign(s, nil)
	if err != nil {
		return mlsDevice{}, err
	}
	c, err := mls.Bind(text, key, s.suite, in.Room, s.now, "handle")
	if err != nil {
		return mlsDevice{}, err
	}
	signer, err := cwt.NewSigner("k1", jose.ES256, s.issuer)
	if err != nil {
		return mlsDevice{}, err
	}
	binary, err := (*cwt.VC)(&vc).Sign(signer)
	if err != nil {
		return mlsDevice{}, err
	}
	bare, err := mls.BindSDCWT(binary, key, s.suite, in.Room, s.now)
	if err != nil {
		return mlsDevice{}, err
	}
	public, keyErr := s.suite.SignatureKey(key.Public())
	wire, wireErr := c.Marshal()
	bareWire, bareErr := bare.Marshal()
	return mlsDevice{private, public, wire, bareWire}, errors.Join(keyErr, wireErr, bareErr)
}

func (s *mlsService) key(private []byte) (crypto.Signer, []byte, error) {
	if s.suite == 1 {
		if private == nil {
			private = make([]byte, ed25519.SeedSize)
			if _, err := rand.Read(private); err != nil {
				return nil, nil, err
			}
		}
		return ed25519.NewKeyFromSeed(private), private, nil
	}
	if private == nil {
		made, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		private, err = made.Bytes()
		if err != nil {
			return nil, nil, err
		}
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), private)
	return key, private, err
}

// status sets the status of a device's credential. Lists that were fetched before are too old now.
func (s *mlsService) status(_ context.Context, in struct {
	Name   string
	Status statuslist.Status
}) (struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	index, ok := s.entries[in.Name]
	if !ok {
		return struct{}{}, errors.New("unknown device")
	}
	s.now = s.now.Add(2 * time.Minute)
	return struct{}{}, s.statuses.Set(index, in.Status)
}

// An mlsLeaf is what ts-mls tells its authentication service: no more than this.
type mlsLeaf struct {
	Credential []byte `json:"credential"`
	Key        []byte `json:"key"`
}

type mlsAnswer struct {
	Good   bool   `json:"good"`
	Answer string `json:"answer"`
}

func (s *mlsService) member(ctx context.Context, in mlsLeaf) (m mls.Member) {
	c, err := mls.Parse(in.Credential)
	if err != nil {
		return mls.Member{Err: err}
	}
	leaf := mls.Leaf{CipherSuite: s.suite, SignatureKey: in.Key, Room: mlsRoom, FromKeyPackage: true}
	m.Credential, m.Err = mls.Validate(ctx, c, leaf, mls.Options{
		Options:   credential.Options{Issuers: s.table, Status: s.reader, Now: s.time, Development: true},
		Verifiers: map[mls.Type]mls.Verifier{mls.SDCWT: mls.VerifySDCWT},
	})
	return m
}

func (s *mlsService) validate(ctx context.Context, in mlsLeaf) (mlsAnswer, error) {
	m := s.member(ctx, in)
	var refused *credential.Error
	switch {
	case m.Err == nil && m.HandleEnded:
		return mlsAnswer{true, "formerly " + m.FormerHandle.Native()}, nil
	case m.Err == nil:
		return mlsAnswer{true, m.Identity.Handle.Native()}, nil
	case errors.As(m.Err, &refused):
		return mlsAnswer{false, strings.TrimSpace(refused.Part + " " + string(refused.Code))}, nil
	}
	return mlsAnswer{}, m.Err
}

func (s *mlsService) successor(ctx context.Context, in struct{ Old, New mlsLeaf }) (mlsAnswer, error) {
	err := mls.Successor(s.member(ctx, in.Old), s.member(ctx, in.New), nil)
	return mlsAnswer{err == nil, fmt.Sprint(err)}, nil
}
