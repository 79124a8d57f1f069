package cwt_test

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cwt"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/internal/vectortest"
	"github.com/imidentity/issuer/statuslist"
)

// A vector is one file of testdata/vectors, for other implementations. testdata/README.md describes the members.
type vector struct {
	Comment  string                       `json:"comment"`
	Kind     string                       `json:"kind"`
	Now      int64                        `json:"now"`
	Audience string                       `json:"audience,omitempty"`
	Nonce    string                       `json:"nonce,omitempty"` // in hexadecimal, as the next ones
	MaxAge   int64                        `json:"max_age,omitempty"`
	AnyAge   bool                         `json:"any_age,omitempty"`
	Statuses map[uint64]statuslist.Status `json:"statuses,omitempty"`
	Message  string                       `json:"message"`
	Result   json.RawMessage              `json:"result,omitempty"`
	Error    *vectorError                 `json:"error,omitempty"`
}

type vectorError struct {
	Part string          `json:"part"`
	Code credential.Code `json:"code"`
}

// A trusted issuer is one whose keys and domains the verifier knows.
type trusted struct {
	Domains []string                   `json:"domains"`
	Keys    map[string]json.RawMessage `json:"keys"` // JWKs by the text of the kid
}

// vectorOf writes a case down.
func vectorOf(t testing.TB, c testCase) vector {
	t.Helper()
	v := vector{Comment: c.comment, Kind: c.kind, Now: now.Unix(), Message: hex.EncodeToString(c.message)}
	if c.kind == presentation {
		v.Audience, v.Nonce = verifier, hex.EncodeToString(nonce)
	}
	if c.verifier != nil {
		c.verifier(&v)
	}
	if c.code != "" {
		v.Error = &vectorError{c.part, c.code}
	}
	if c.code == "" || credential.Stands(c.code) {
		result, err := v.verify(t)
		if c.code == "" && err != nil || result == nil {
			t.Fatalf("%s: %v, want a result: %s", c.name, err, c.comment)
		}
		v.Result = result
	}
	return v
}

// verify returns the JSON of a token or credential, nil for none.
func (v *vector) verify(t testing.TB) (json.RawMessage, error) {
	t.Helper()
	message, err := hex.DecodeString(v.Message)
	if err != nil {
		t.Fatal(err)
	}
	if v.Kind == accessToken {
		token, err := (&cwt.Decoder{Keys: peers}).Decode(t.Context(), message)
		if err != nil {
			return nil, err
		}
		return marshal(t, map[string]any{"kid": token.KID(), "claims": token.Set(), "ckt": hex.EncodeToString(token.Thumbprint())}), nil
	}
	o := options()
	o.Now = func() time.Time { return time.Unix(v.Now, 0).UTC() }
	o.Status = statuses(v.Statuses)
	o.Binding.Audience, o.Binding.AnyAge, o.Binding.MaxAge = v.Audience, v.AnyAge, time.Duration(v.MaxAge)*time.Second
	if o.Binding.Nonce, err = hex.DecodeString(v.Nonce); err != nil {
		t.Fatal(err)
	}
	if v.Kind == credentialOf {
		o.Binding, o.WithoutBinding = nil, true
	}
	c, err := cwt.Verify(t.Context(), message, o)
	if !credential.Stands(err) {
		if c.ID != "" {
			t.Errorf("Verify = %+v with %v, want no credential", c, err)
		}
		return nil, err
	}
	return credentialJSON(t, c), err
}

func credentialJSON(t testing.TB, c credential.Credential) json.RawMessage {
	t.Helper()
	thumbprint, err := cwt.Thumbprint(c.Key)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := jose.MarshalJWK(c.Key)
	if err != nil {
		t.Fatal(err)
	}
	return marshal(t, struct {
		Format       credential.Format     `json:"format"`
		ID           string                `json:"id"`
		Issuer       string                `json:"issuer"`
		User         string                `json:"user"`
		Device       string                `json:"device"`
		Handle       string                `json:"handle,omitempty"`
		HandleEnded  bool                  `json:"handle_ended,omitempty"`
		FormerHandle string                `json:"former_handle,omitempty"`
		Key          json.RawMessage       `json:"jwk"`
		JKT          string                `json:"jkt"`
		CKT          string                `json:"ckt"`
		From         int64                 `json:"from"`
		Until        int64                 `json:"until"`
		Status       *statuslist.Reference `json:"status,omitempty"`
		Checked      bool                  `json:"checked"`
	}{
		c.Format, c.ID, c.Issuer, c.Identity.User.String(), c.Identity.Device.String(), c.Identity.Handle.String(), c.HandleEnded,
		c.FormerHandle.String(), jwk, c.JKT, hex.EncodeToString(thumbprint), c.From.Unix(), c.Until.Unix(), c.Status, c.Checked,
	})
}

func marshal(t testing.TB, v any) json.RawMessage {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestWriteVectors checks the files against the cases. Signatures are deterministic, so the bytes are the same each time.
func TestWriteVectors(t *testing.T) {
	issuers := map[string]trusted{}
	for issuer, p := range peers {
		list := trusted{p.Domains, map[string]json.RawMessage{}}
		for kid, key := range p.keys {
			jwk, err := jose.MarshalJWK(key.Public())
			if err != nil {
				t.Fatal(err)
			}
			list.Keys[kid] = jwk
		}
		issuers[issuer] = list
	}
	vectortest.WriteJSON(t, "testdata/issuers.json", issuers)
	writeExample(t)
	vectortest.WriteAll(t, cases(t), func(c testCase) (string, any) { return c.name, vectorOf(t, c) })
}

// writeExample writes the files of the commands in docs/cwt.md: a presentation as text, and the key set of its issuer.
func writeExample(t testing.TB) {
	vc := deviceVC()
	vc.Status = nil
	vectortest.WriteFile(t, "testdata/example.txt", []byte(cwt.Text(presented(t, issuedVC(t, vc, "k1", issuerP256), phone))+"\n"))
	keys := vectortest.JWK(t, "k1", jose.ES256, issuerP256)
	vectortest.WriteJSON(t, "testdata/example-jwks.json", map[string]any{"keys": []json.RawMessage{keys}})
}

// readVectors reads testdata/vectors, by name.
func readVectors(t testing.TB) map[string]*vector {
	t.Helper()
	return vectortest.ReadAll[vector](t, "vectors/*.json", 200)
}

func TestVectors(t *testing.T) {
	vectors := readVectors(t)
	for _, name := range slices.Sorted(maps.Keys(vectors)) {
		v := vectors[name]
		t.Run(name, func(t *testing.T) {
			got, err := v.verify(t)
			if v.Error != nil {
				wantRefused(t, v.Comment, err, v.Error.Part, v.Error.Code)
			} else if err != nil {
				t.Fatalf("error %v, want a result: %s", err, v.Comment)
			}
			var want bytes.Buffer
			if v.Result != nil {
				if err := json.Compact(&want, v.Result); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(got, want.Bytes()) {
				t.Errorf("got %s\nwant %s", got, want.Bytes())
			}
		})
	}
}

func wantRefused(t testing.TB, what string, err error, part string, code credential.Code) {
	t.Helper()
	var refused *credential.Error
	switch {
	case !errors.As(err, &refused):
		t.Errorf("error %v, want %s of %q: %s", err, code, part, what)
	case refused.Part != part || refused.Code != code:
		t.Errorf("error %v, want %s of %q: %s", err, code, part, what)
	}
}

// Every code that the package can return is that of some vector, but for those that only other formats have.
func TestVectorsHaveAllCodes(t *testing.T) {
	seen := map[credential.Code]bool{}
	for _, v := range readVectors(t) {
		if v.Error != nil {
			seen[v.Error.Code] = true
		}
	}
	for _, code := range []credential.Code{
		credential.CodeMalformed, credential.CodeTooLarge, credential.CodeType, credential.CodeAlgorithm, credential.CodeDisclosure,
		credential.CodeSignature, credential.CodeIssuer, credential.CodeDomain, credential.CodeClaim, credential.CodeNotYetValid,
		credential.CodeExpired, credential.CodeEnded, credential.CodeStatus, credential.CodeNoBinding, credential.CodeBinding,
		credential.CodeAudience, credential.CodeNonce, credential.CodeAge, credential.CodeKey,
	} {
		if !seen[code] {
			t.Errorf("no vector has the code %s", code)
		}
	}
}

// TestIssuersFile checks that the file has the keys that sign the vectors.
func TestIssuersFile(t *testing.T) {
	var issuers map[string]trusted
	vectortest.ReadJSON(t, "testdata/issuers.json", &issuers)
	for issuer, p := range peers {
		for kid, key := range p.keys {
			read, err := jose.ParseJWK(issuers[issuer].Keys[kid])
			if public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); err != nil || !ok || !public.Equal(read.Public) {
				t.Errorf("%s %s: %v, want the key", issuer, kid, err)
			}
		}
	}
}
