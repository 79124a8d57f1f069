package interop_test

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cwt"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/statuslist"
)

// cwtSaid is what cwt.mjs reads from a message.
type cwtSaid struct {
	Tag                         int
	Header, Unprotected, Claims map[string]any
	CKT                         string
	Inner                       *struct{ Header, Claims map[string]any }
	Error                       string
}

// oneIssuer is a source of keys with one key.
type oneIssuer struct {
	alg string
	key crypto.PublicKey
}

func (o oneIssuer) Key(_ context.Context, issuer, kid string) (crypto.PublicKey, string, error) {
	if issuer != vcIssuer || kid != "k1" {
		return nil, "", claims.ErrIssuer
	}
	return o.key, o.alg, nil
}

func (oneIssuer) Speaks(_ context.Context, _, domain string) error {
	if domain != "example.com" {
		return claims.ErrDomain
	}
	return nil
}

// npm @auth0/cose verifies our access token and key binding token, and cbor2 reads the claims in them; we verify what both made.
func TestCWTOfOthers(t *testing.T) {
	holders := newKeyring() // not the issuer's
	for _, c := range []struct{ issuer, holder string }{{"ES256", "EdDSA"}, {"EdDSA", "ES256"}} {
		t.Run(c.issuer, func(t *testing.T) { testCWT(t, c.issuer, c.holder, signers[c.issuer], holders[c.holder]) })
	}
}

func testCWT(t *testing.T, alg, holderAlg string, issuer, holder crypto.Signer) {
	now := time.Now().Truncate(time.Second).UTC()
	jkt, err := jose.Thumbprint(holder.Public())
	if err != nil {
		t.Fatal(err)
	}
	ckt, err := cwt.Thumbprint(holder.Public())
	if err != nil {
		t.Fatal(err)
	}
	s, err := cwt.NewSigner("k1", alg, issuer)
	if err != nil {
		t.Fatal(err)
	}
	set := claims.Set{
		Issuer: vcIssuer, Subject: vcUser, Handle: vcHandle, Device: vcDevice, Audience: []string{"im:example.com"}, ClientID: "im-app",
		Scope: "im:handle im:device", JTI: "t1", IssuedAt: now, Expires: now.Add(10 * time.Minute), SID: "s1", Gen: 3, JKT: jkt,
	}
	access, err := cwt.SignAccessToken(set, holder.Public(), s)
	if err != nil {
		t.Fatal(err)
	}
	vc := cwt.VC{
		Issuer: vcIssuer, ID: "c1", Device: vcDevice, User: vcUser, Handle: vcHandle, Key: holder.Public(), IssuedAt: now,
		Expires: now.Add(30 * 24 * time.Hour), Status: &statuslist.Reference{Index: 48211, URI: vcIssuer + "/status/7"},
	}
	issued, err := vc.Sign(s)
	if err != nil {
		t.Fatal(err)
	}
	token, err := cwt.Parse(issued)
	if err != nil {
		t.Fatal(err)
	}
	binding := cwt.Binding{Audience: "mimi://example.org/r/clubhouse", Nonce: []byte("n-0S6_WzA2Mj")}
	bound, err := token.Present(holder, binding, now)
	if err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte(nil), access...)
	flipped[len(flipped)-1] ^= 1

	type message struct {
		Data   []byte          `json:"data"`
		Key    json.RawMessage `json:"key"`
		Holder json.RawMessage `json:"holder,omitempty"`
	}
	jwk := func(key crypto.Signer) json.RawMessage {
		text, err := jose.MarshalJWK(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	input, err := json.Marshal(map[string]any{
		"verify": []message{
			{access, jwk(issuer), nil}, {bound, jwk(issuer), jwk(holder)}, {flipped, jwk(issuer), nil}, {bound, jwk(issuer), jwk(issuer)},
		},
		"issuer": newVCParty(t, alg, "k1", issuer), "holder": newVCParty(t, holderAlg, "", holder),
		"claims": map[string]any{
			"iss": vcIssuer, "user": vcUser, "device": vcDevice, "handle": vcHandle, "aud": "im:example.com", "iat": now.Unix(),
			"vct": credential.VCT,
		},
		"binding": map[string]any{"aud": binding.Audience, "nonce": binding.Nonce},
	})
	if err != nil {
		t.Fatal(err)
	}
	cmd := node(t, t.Context(), "cwt.mjs", map[string]string{"INPUT": string(input)})
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("cwt.mjs: %v", err)
	}
	var got struct {
		Verified      []cwtSaid
		Access, Bound []byte
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}

	numbers := map[string]float64{"ES256": -7, "EdDSA": -8}
	text := func(s string) string { return hex.EncodeToString([]byte(s)) }
	rawJKT, err := base64.RawURLEncoding.DecodeString(jkt)
	if err != nil {
		t.Fatal(err)
	}
	iat := float64(now.Unix())
	wantAccess := cwtSaid{
		Tag: 18, Header: map[string]any{"1": numbers[alg], "4": text("k1"), "16": "application/at+cwt"}, Unprotected: map[string]any{},
		Claims: map[string]any{
			"1": vcIssuer, "2": vcUser, "3": "im:example.com", "4": iat + 600, "6": iat, "7": text("t1"),
			"8": map[string]any{"5": hex.EncodeToString(ckt)}, "9": "im:handle im:device", "handle": vcHandle, "device": vcDevice,
			"client_id": "im-app", "sid": "s1", "gen": 3.0, "jkt": hex.EncodeToString(rawJKT),
		},
	}
	read := got.Verified
	if len(read) != 4 || read[2].Error == "" || read[3].Error == "" {
		t.Fatalf("cwt.mjs read %+v, want two messages that are refused", read)
	}
	if read[0].CKT = ""; !reflect.DeepEqual(read[0], wantAccess) {
		t.Errorf("of the access token cbor2 reads\n%+v\nwant\n%+v", read[0], wantAccess)
	}
	kb := read[1]
	if kb.Error != "" || kb.Inner == nil || kb.Header["1"] != numbers[holderAlg] || kb.Header["16"] != 294.0 || kb.CKT != hex.EncodeToString(ckt) ||
		!reflect.DeepEqual(kb.Claims, map[string]any{"3": binding.Audience, "6": iat, "39": hex.EncodeToString(binding.Nonce)}) {
		t.Fatalf("of the key binding token cbor2 reads %+v", kb)
	}
	key, _ := kb.Inner.Claims["8"].(map[string]any)
	delete(kb.Inner.Claims, "8")
	if key["1"] == nil || !reflect.DeepEqual(kb.Inner.Claims, map[string]any{
		"1": vcIssuer, "2": vcDevice, "4": iat + 30*86400, "6": iat, "7": text("c1"), "11": credential.VCT, "user": vcUser, "handle": vcHandle,
		"65535": map[string]any{"status_list": map[string]any{"idx": 48211.0, "uri": vcIssuer + "/status/7"}},
	}) || !reflect.DeepEqual(kb.Inner.Header, map[string]any{"1": numbers[alg], "4": text("k1"), "16": 293.0}) {
		t.Errorf("of the credential cbor2 reads %+v, key %v", kb.Inner, key)
	}

	// Theirs.
	keys := oneIssuer{alg, issuer.Public()}
	theirs, err := (&cwt.Decoder{Keys: keys}).Decode(t.Context(), got.Access)
	if err != nil {
		t.Fatal(err)
	}
	want := set
	want.Handle, want.Scope, want.JTI = "", "", "c1"
	if !reflect.DeepEqual(theirs.Set(), want) || !theirs.BoundTo(holder.Public()) {
		t.Errorf("their access token says %+v, want %+v", theirs.Set(), want)
	}
	c, err := cwt.Verify(t.Context(), got.Bound, cwt.Options{
		Options: credential.Options{Issuers: keys, Now: func() time.Time { return now }, Development: true}, Binding: &binding,
	})
	if err != nil || c.ID != "c1" || c.Identity.Device.String() != vcDevice || c.JKT != jkt {
		t.Errorf("Verify of their key binding token = %+v, %v", c, err)
	}
}
