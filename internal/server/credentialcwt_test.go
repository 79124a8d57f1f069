package server_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cwt"
	"github.com/imidentity/issuer/credential/mls"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/trust"
)

// askCWTs asks for a credential as a CWT for each key proof.
func (s *site) askCWTs(t *testing.T, d *device, token string, proofs ...string) answer {
	t.Helper()
	return s.held(t, d, token, http.MethodPost, "/credential", object{
		"credential_configuration_id": "im-device-cwt", "proofs": object{"jwt": proofs},
	})
}

// credentialOptions are those of a verifier that knows nothing but the URL of the issuer.
func (s *site) credentialOptions(t *testing.T) credential.Options {
	t.Helper()
	table, err := trust.NewTable(trust.Config{
		Peers: []trust.Peer{{Domain: "example.com", Issuer: s.issuer}}, Client: s.http, ForeignClient: s.http, Now: s.clock.now, Development: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	status, err := statuslist.NewReader(statuslist.ReaderConfig{Keys: table, Client: s.http, Bits: 2, AllowHTTP: true, Now: s.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	return credential.Options{Issuers: table, Status: status, Now: s.clock.now, Development: true}
}

// TestCredentialCWT holds that a device gets the CWT like the SD-JWT VC: for its own key and for another one, shown to a verifier and in a
// leaf of an MLS group, with a status that is that of the device and the handle.
func TestCredentialCWT(t *testing.T) {
	s := start(t, nil)
	phone := newDevice(t)
	held := s.inWallet(t, phone, "alice")
	own := s.forCredentials(t, phone, held)
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := dpop.NewSigner(private, "")
	if err != nil {
		t.Fatal(err)
	}
	list := wantCredentials(t, s.askCWTs(t, phone, own, s.keyProof(t, phone.Signer), s.keyProof(t, other)), 2)
	var data [2][]byte
	for i, text := range list {
		if data[i], err = cwt.ReadText(text); err != nil {
			t.Fatal(err)
		}
	}
	token, err := cwt.Parse(data[0])
	if err != nil {
		t.Fatal(err)
	}
	binding := cwt.Binding{Audience: "im:example.org", Nonce: []byte("n-1")}
	shown, err := token.Present(phone.key, binding, s.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	c, err := cwt.Verify(t.Context(), shown, cwt.Options{Options: s.credentialOptions(t), Binding: &binding})
	if err != nil || c.Format != credential.SDCWT || c.Issuer != s.issuer || c.JKT != phone.JKT() || c.Identity.Device.String() != held.set.Device ||
		c.Identity.User.String() != held.set.Subject || c.Identity.Handle.String() != held.set.Handle || !c.Checked {
		t.Fatalf("Verify = %+v, %v, want a credential of alice's phone", c, err)
	}
	row, err := s.store.Credential(t.Context(), c.ID)
	if err != nil || row.Format != string(credential.SDCWT) || row.Device != deviceOf(t, held).Device() || row.JKT != c.JKT || !row.ExpiresAt.Equal(c.Until) {
		t.Errorf("row = %+v, %v, want that of the credential", row, err)
	}
	_, err = cwt.Verify(t.Context(), shown, cwt.Options{Options: s.credentialOptions(t), Binding: &cwt.Binding{Audience: "im:example.org", Nonce: []byte("n-2")}})
	if !errors.Is(err, credential.CodeNonce) {
		t.Errorf("Verify with another nonce = %v, want %s", err, credential.CodeNonce)
	}

	const room = "mimi://example.org/r/clubhouse"
	key, err := mls.CipherSuite(1).SignatureKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	bound, err := mls.BindSDCWT(data[1], private, 1, room, s.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	leaf := mls.Leaf{CipherSuite: 1, SignatureKey: key, Room: room}
	validate := func() (credential.Credential, error) {
		o := mls.Options{Options: s.credentialOptions(t), Verifiers: map[mls.Type]mls.Verifier{mls.SDCWT: mls.VerifySDCWT}}
		return mls.Validate(t.Context(), bound, leaf, o)
	}
	if wire, err := bound.Marshal(); err != nil || wire[1] != 5 {
		t.Errorf("Marshal = %x, %v, want the type 5", wire, err)
	}
	if c, err := validate(); err != nil || c.JKT != other.JKT() || c.Identity.Device.String() != held.set.Device {
		t.Errorf("Validate = %+v, %v, want alice's phone", c, err)
	}
	// The SD-JWT VC is another format, with a count of its own; the rules are the same.
	wantCredentials(t, s.askCredentials(t, phone, own, s.keyProof(t, newDevice(t).Signer)), 1)
	wantCredentials(t, s.askCWTs(t, phone, own, s.keyProofs(t, 3)...), 3)
	wantDenied(t, s.askCWTs(t, phone, own, s.keyProofs(t, 1)...), "credential_request_denied")
	proof := s.keyProof(t, newDevice(t).Signer)
	tablet := newDevice(t)
	second := s.forCredentials(t, tablet, s.inWallet(t, tablet, "alice"))
	wantCredentials(t, s.askCWTs(t, tablet, second, proof), 1)
	wantDenied(t, s.askCWTs(t, tablet, second, proof), "invalid_proof")                       // used before
	wantDenied(t, s.askCWTs(t, tablet, second, s.keyProof(t, phone.Signer)), "invalid_proof") // another device's key
	large, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	unfit, err := dpop.NewSigner(large, "")
	if err != nil {
		t.Fatal(err)
	}
	wantDenied(t, s.askCWTs(t, tablet, second, s.keyProof(t, unfit)), "invalid_proof") // no COSE_Key of P-384 in a CWT

	s.rename(t, deviceOf(t, held).Local(), "alicia")
	s.advance(t, 0)
	if c, err := validate(); err != nil || !c.HandleEnded {
		t.Errorf("Validate after a rename = %+v, %v, want a good device and a handle that is out of date", c, err)
	}
	s.remove(t, held.set.Device)
	if _, err := validate(); !errors.Is(err, credential.CodeEnded) {
		t.Errorf("Validate after the end of the device = %v, want %s", err, credential.CodeEnded)
	}
}

// TestCredentialCWTMetadata holds what the metadata says, and that an issuer that signs with RS256 has no such configuration.
func TestCredentialCWTMetadata(t *testing.T) {
	for alg, able := range map[string]bool{"ES256": true, "EdDSA": true, "RS256": false} {
		t.Run(alg, func(t *testing.T) {
			s := start(t, map[string]string{"more": "signing: {alg: " + alg + "}"})
			all, _ := s.get(t, "/.well-known/openid-credential-issuer").json["credential_configurations_supported"].(object)
			got := string(encode(all["im-device-cwt"]))
			want := `{"credential_metadata":{"display":[{"name":"Device, as a CWT"}]},"credential_signing_alg_values_supported":["` + alg +
				`"],"cryptographic_binding_methods_supported":["cose_key"],"format":"im-sd-cwt","proof_types_supported":{"jwt":` +
				`{"proof_signing_alg_values_supported":["ES256","EdDSA","Ed25519"]}},"scope":"im:credential","vct":"tag:imidentity.github.io,2026:im-device:1"}`
			if !able {
				want = "null"
			}
			if got != want {
				t.Errorf("im-device-cwt = %s\nwant %s", got, want)
			}
			d := newDevice(t)
			a := s.askCWTs(t, d, s.forCredentials(t, d, s.inWallet(t, d, "alice")), s.keyProof(t, d.Signer))
			if able {
				wantCredentials(t, a, 1)
			} else if wantDenied(t, a, "unknown_credential_configuration"); strings.Contains(a.body, "im-device-cwt:") {
				t.Errorf("answer = %v", a)
			}
		})
	}
}
