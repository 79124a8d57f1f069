package sdjwt_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/sdjwt"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/internal/vectortest"
	"github.com/imidentity/issuer/statuslist"
)

// Vectors is testdata/vectors.json, for other implementations. testdata/README.md describes the members.
type vectors struct {
	Issuers vectortest.Issuers `json:"issuers"`
	Vectors []vector           `json:"vectors"`
}

type vector struct {
	Name       string            `json:"name"`
	Comment    string            `json:"comment,omitempty"`
	Text       string            `json:"text"`
	Options    vectorOptions     `json:"options"`
	Code       credential.Code   `json:"code,omitempty"`
	Part       string            `json:"part,omitempty"`
	Unknown    bool              `json:"unknown,omitempty"`
	Credential *vectorCredential `json:"credential,omitempty"`
}

type vectorOptions struct {
	Now            int64  `json:"now"`
	Audience       string `json:"audience,omitempty"`
	Nonce          string `json:"nonce,omitempty"`
	MaxAge         int64  `json:"max_age,omitempty"`
	At             int64  `json:"at,omitempty"`
	AnyAge         bool   `json:"any_age,omitempty"`
	WithoutBinding bool   `json:"without_binding,omitempty"`
	Unchecked      bool   `json:"unchecked,omitempty"`
	NoStatus       bool   `json:"no_status,omitempty"`
	Leeway         int64  `json:"leeway,omitempty"`
	Strict         bool   `json:"strict,omitempty"`
}

type vectorCredential struct {
	Issuer       string                `json:"issuer"`
	ID           string                `json:"id"`
	User         string                `json:"user"`
	Device       string                `json:"device"`
	Handle       string                `json:"handle,omitempty"`
	HandleEnded  bool                  `json:"handle_ended,omitempty"`
	FormerHandle string                `json:"former_handle,omitempty"`
	Key          json.RawMessage       `json:"key"`
	From         int64                 `json:"from"`
	Until        int64                 `json:"until"`
	Status       *statuslist.Reference `json:"status,omitempty"`
	Checked      bool                  `json:"checked,omitempty"`
}

// options are those of the verifier that o describes.
func (o *vectorOptions) options(known vectortest.Issuers) sdjwt.Options {
	options := sdjwt.Options{
		Options: credential.Options{
			Issuers: known, Status: list{}, Unchecked: o.Unchecked, Now: func() time.Time { return time.Unix(o.Now, 0) },
			Leeway: time.Duration(o.Leeway) * time.Second, Development: !o.Strict,
		},
		WithoutBinding: o.WithoutBinding,
	}
	if o.NoStatus {
		options.Status = nil
	}
	if !o.WithoutBinding {
		options.Binding = &sdjwt.Binding{
			Audience: o.Audience, Nonce: o.Nonce,
			BindingAge: credential.BindingAge{MaxAge: time.Duration(o.MaxAge) * time.Second, AnyAge: o.AnyAge},
		}
		if o.At != 0 {
			options.Binding.At = time.Unix(o.At, 0)
		}
	}
	return options
}

// vectorOf writes a case down.
func vectorOf(t testing.TB, c testCase) vector {
	t.Helper()
	v := vector{Name: c.name, Comment: c.comment, Options: vectorOptions{Now: now.Unix(), Audience: room, Nonce: nonce}, Code: c.code, Part: c.part}
	if c.verifier != nil {
		c.verifier(&v.Options)
	}
	if c.issued != nil {
		vc := vc()
		disclose := c.issued(vc)
		v.Text = present(t, issue(t, vc), phone, disclose...)
	} else {
		p := presented()
		if c.change != nil {
			c.change(p)
		}
		v.Text = p.text()
	}
	if c.edit != nil {
		v.Text = c.edit(v.Text)
	}
	v.Unknown = c.unknown
	if c.code == "" && !c.unknown || c.want != nil {
		v.Credential = &vectorCredential{
			Issuer: home, ID: "0hQJ4kR7cYw1aZt2", User: alice, Device: alicePhone, Handle: aliceHandle, Key: json.RawMessage(phone.jwk()),
			From: now.Add(-24 * time.Hour).Unix(), Until: now.Add(29 * 24 * time.Hour).Unix(),
			Status: &statuslist.Reference{URI: home + "/status/7"}, Checked: true,
		}
		if c.want != nil {
			c.want(v.Credential)
		}
	}
	return v
}

// TestWriteVectors checks the file against the cases. Signatures and salts are deterministic, so the bytes are the same each time.
func TestWriteVectors(t *testing.T) {
	all := vectors{Issuers: vectortest.Issuers{}}
	for issuer, domains := range trusted {
		a := issuers[issuer]
		all.Issuers[issuer] = vectortest.Issuer{Domains: domains, Keys: []json.RawMessage{vectortest.JWK(t, a.kid, a.alg, a.key)}}
	}
	names := map[string]bool{}
	for _, c := range append(slices.Clone(good), refused...) {
		if names[c.name] {
			t.Errorf("two cases have the name %s", c.name)
		}
		names[c.name] = true
		all.Vectors = append(all.Vectors, vectorOf(t, c))
	}
	vectortest.WriteJSON(t, "testdata/vectors.json", all)
}

func readVectors(t testing.TB) vectors {
	t.Helper()
	var all vectors
	vectortest.ReadJSON(t, "testdata/vectors.json", &all)
	if len(all.Vectors) < 60 {
		t.Fatalf("%d vectors, want at least 60", len(all.Vectors))
	}
	return all
}

func TestVectors(t *testing.T) {
	all := readVectors(t)
	for _, v := range all.Vectors {
		t.Run(v.Name, func(t *testing.T) {
			got, err := sdjwt.Verify(t.Context(), v.Text, v.Options.options(all.Issuers))
			refused := (*credential.Error)(nil)
			switch {
			case v.Unknown:
				if !errors.Is(err, statuslist.ErrUnknown) || errors.As(err, &refused) {
					t.Errorf("Verify = %v, want that it cannot be known", err)
				}
			case v.Code != "":
				wantRefused(t, err, v.Part, v.Code)
			case err != nil:
				t.Fatalf("Verify = %v, want a credential: %s", err, v.Comment)
			}
			if v.Credential == nil {
				if !reflect.DeepEqual(got, credential.Credential{}) {
					t.Errorf("Verify returned %+v with %v", got, err)
				}
				return
			}
			v.Credential.compare(t, got)
		})
	}
}

// compare checks what was read.
func (want *vectorCredential) compare(t *testing.T, got credential.Credential) {
	t.Helper()
	key, err := jose.ParseJWK(want.Key)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := jose.MarshalJWK(got.Key)
	if err != nil {
		t.Fatal(err)
	}
	read := vectorCredential{
		Issuer: got.Issuer, ID: got.ID, User: got.Identity.User.String(), Device: got.Identity.Device.String(),
		Handle: got.Identity.Handle.String(), HandleEnded: got.HandleEnded, FormerHandle: got.FormerHandle.String(),
		Key: jwk, From: got.From.Unix(), Until: got.Until.Unix(), Status: got.Status, Checked: got.Checked,
	}
	var compact bytes.Buffer // the file has the key over several lines
	if err := json.Compact(&compact, want.Key); err != nil {
		t.Fatal(err)
	}
	expected := *want
	expected.Key = compact.Bytes()
	if !reflect.DeepEqual(read, expected) || got.JKT != key.JKT || got.Format != credential.SDJWT {
		t.Errorf("Verify = %+v, want %+v", read, expected)
	}
}

// Every code that a verifier of this format can give has a vector.
func TestVectorsOfEachCode(t *testing.T) {
	missing := map[credential.Code]bool{}
	for _, code := range []credential.Code{
		credential.CodeMalformed, credential.CodeTooLarge, credential.CodeType, credential.CodeAlgorithm, credential.CodeDisclosure,
		credential.CodeSignature, credential.CodeIssuer, credential.CodeDomain, credential.CodeClaim, credential.CodeNotYetValid,
		credential.CodeExpired, credential.CodeEnded, credential.CodeStatus, credential.CodeUnchecked, credential.CodeNoBinding,
		credential.CodeBinding, credential.CodeAudience, credential.CodeNonce, credential.CodeHash, credential.CodeAge, credential.CodeKey,
	} {
		missing[code] = true
	}
	for _, v := range readVectors(t).Vectors {
		delete(missing, v.Code)
	}
	if len(missing) > 0 {
		t.Errorf("no vector is refused with %v", slices.Collect(maps.Keys(missing)))
	}
}
