package cwt_test

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"pgregory.net/rapid"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cwt"
	"github.com/imidentity/issuer/statuslist"
)

// maybe draws a text, which is absent at times.
func maybe(t *rapid.T, name string) string {
	if rapid.Bool().Draw(t, "has "+name) {
		return rapid.StringN(1, 40, -1).Draw(t, name)
	}
	return ""
}

func maybeTime(t *rapid.T, name string) time.Time {
	if rapid.Bool().Draw(t, "has "+name) {
		return time.Unix(rapid.Int64Range(0, 253402300799).Draw(t, name), rapid.Int64Range(0, 999_999_999).Draw(t, "fraction"))
	}
	return time.Time{}
}

func maybeActor(t *rapid.T, name string, depth int) *claims.Actor {
	if depth == 0 || !rapid.Bool().Draw(t, "has "+name) {
		return nil
	}
	return &claims.Actor{
		Subject: maybe(t, "sub"), Issuer: maybe(t, "iss"), ClientID: maybe(t, "client_id"), SID: maybe(t, "sid"),
		Actor: maybeActor(t, name, depth-1),
	}
}

func drawSet(t *rapid.T, key crypto.Signer) claims.Set {
	texts := rapid.SliceOfN(rapid.StringN(1, 20, -1), 0, 4)
	s := claims.Set{
		Issuer: maybe(t, "iss"), Subject: maybe(t, "sub"), Handle: maybe(t, "handle"), Device: maybe(t, "device"),
		Audience: texts.Draw(t, "aud"), ClientID: maybe(t, "client_id"), Scope: maybe(t, "scope"), JTI: maybe(t, "jti"),
		IssuedAt: maybeTime(t, "iat"), NotBefore: maybeTime(t, "nbf"), Expires: maybeTime(t, "exp"), AuthTime: maybeTime(t, "auth_time"),
		ACR: maybe(t, "acr"), AMR: texts.Draw(t, "amr"), SID: maybe(t, "sid"), Gen: rapid.Int64().Draw(t, "gen"),
		Actor: maybeActor(t, "act", 4), MayAct: maybeActor(t, "may_act", 4), HomeIss: maybe(t, "home_iss"),
	}
	if key != nil {
		s.JKT = jkt(t, key)
	}
	if rapid.Bool().Draw(t, "has tokens") {
		s.Tokens = json.RawMessage(rapid.SampledFrom([]string{
			`[]`, `[{"rel":"same_as","token":"e30.e30."}]`, "[ 1,\t\"é\" ]", `[[[]]]`, `["\u00e9"]`,
		}).Draw(t, "tokens"))
	}
	if rapid.Bool().Draw(t, "has status") {
		s.Status = &claims.Status{Index: rapid.Uint64().Draw(t, "idx"), URI: rapid.StringN(1, 40, -1).Draw(t, "uri")}
	}
	return s
}

// The twins say the same: what a verifier reads from the CWT is what it reads from the JWT.
func TestTwins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SampledFrom([]crypto.Signer{phone, laptop, nil}).Draw(t, "key")
		kid := rapid.SampledFrom([]string{"k1", "k2"}).Draw(t, "kid")
		set := drawSet(t, key)
		set.Issuer = home
		want, err := claims.ParseSet(set.AppendJSON(nil))
		if err != nil {
			t.Fatal(err)
		}
		if len(want.AMR) == 0 {
			want.AMR = nil
		}
		data, err := cwt.SignAccessToken(set, public(key), signer(t, kid, peers[home].keys[kid]))
		if err != nil {
			t.Fatal(err)
		}
		token, err := (&cwt.Decoder{Keys: peers}).Decode(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		if got := token.Set(); !reflect.DeepEqual(got, want) {
			t.Errorf("the CWT says\n%+v\nthe JWT\n%+v", got, want)
		}
		if token.KID() != kid || key != nil && !token.BoundTo(key.Public()) || token.BoundTo(thief.Public()) {
			t.Errorf("KID = %q, want %q, bound to the key alone", token.KID(), kid)
		}
		checkAccessToken(t, data, token)
	})
}

// A claim that is new in the JWT must be written in the CWT, too.
func TestEveryClaim(t *testing.T) {
	set := fullSet(t)
	for v, i := reflect.ValueOf(set), 0; i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Errorf("the example lacks %s", v.Type().Field(i).Name)
		}
	}
	token, err := cwt.ParseAccessToken(signed(t, set, phone, "k1", issuerP256))
	if err != nil {
		t.Fatal(err)
	}
	if got := token.Set(); !reflect.DeepEqual(got, set) {
		t.Errorf("the CWT says\n%+v\nwant\n%+v", got, set)
	}
}

// checkAccessToken holds an accepted token to the promises of every one.
func checkAccessToken(t rapid.TB, data []byte, token *cwt.AccessToken) {
	t.Helper()
	checkMessage(t, data)
	set := token.Set()
	// The JWT could have these claims.
	if again, err := claims.ParseSet(set.AppendJSON(nil)); err != nil || !reflect.DeepEqual(again, set) {
		t.Errorf("as JSON the claims are %+v, %v, want %+v", again, err, set)
	}
	// Written again, they are the same bytes, but for what is unknown.
	written, err := cwt.EncodeSet(set, token.Thumbprint())
	if err != nil {
		t.Fatal(err)
	}
	checkWritten(t, token.Payload(), written, accessLabels)
}

// Labels of known claims.
var (
	accessLabels = []any{
		uint64(1), uint64(2), uint64(3), uint64(4), uint64(5), uint64(6), uint64(7), uint64(8), uint64(9), uint64(65535), "handle", "device",
		"client_id", "auth_time", "acr", "amr", "sid", "gen", "jkt", "act", "may_act", "home_iss", "tokens",
	}
	vcLabels = []any{uint64(1), uint64(2), uint64(3), uint64(4), uint64(6), uint64(7), uint64(8), uint64(11), uint64(65535), "user", "handle"}
)

// checkWritten compares the payload that was read with the one that its known claims make.
func checkWritten(t rapid.TB, read, written []byte, known []any) {
	t.Helper()
	if bytes.Equal(read, written) {
		return
	}
	var a, b map[any]any
	if err := errors.Join(cbor.Unmarshal(read, &a), cbor.Unmarshal(written, &b)); err != nil {
		t.Fatal(err)
	}
	for label := range a {
		if _, ok := b[label]; !ok && slices.Contains(known, label) {
			t.Errorf("claim %v was read and is lost", label)
		}
	}
	merge(a, b)
	if merged := enc(a); !bytes.Equal(merged, read) {
		t.Errorf("read %x\nwritten again %x", read, written)
	}
}

// merge writes the values of b into a, and into the maps in it.
func merge(a, b map[any]any) {
	for label, value := range b {
		inner, ok := value.(map[any]any)
		if into, both := a[label].(map[any]any); ok && both {
			merge(into, inner)
		} else {
			a[label] = value
		}
	}
}

// checkMessage holds an accepted message of any kind to the promises of every one: another reader reads it, and writes the same bytes.
func checkMessage(t rapid.TB, data []byte) {
	t.Helper()
	var v any
	if err := cbor.Unmarshal(data, &v); err != nil {
		t.Fatalf("another reader says %v", err)
	}
	if again, err := mode.Marshal(v); err != nil || !bytes.Equal(again, data) {
		t.Errorf("written again it is %x, %v, want %x", again, err, data)
	}
	parts := v.(cbor.Tag).Content.([]any)
	for _, part := range []any{parts[0], parts[2]} {
		var v map[any]any
		if err := cbor.Unmarshal(part.([]byte), &v); err != nil {
			t.Fatalf("another reader says %v", err)
		}
		if again, err := mode.Marshal(v); err != nil || !bytes.Equal(again, part.([]byte)) {
			t.Errorf("written again it is %x, %v, want %x", again, err, part)
		}
	}
	if len(data) > cwt.MaxSize {
		t.Errorf("accepted %d bytes", len(data))
	}
	text, err := cwt.Diagnose(data)
	if err != nil {
		t.Errorf("Diagnose = %v", err)
	}
	for _, r := range text {
		if r > '~' || r < ' ' && r != '\n' {
			t.Errorf("Diagnose wrote %q", text)
			break
		}
	}
	if back, err := cwt.ReadText(cwt.Text(data)); err != nil || !bytes.Equal(back, data) {
		t.Errorf("ReadText = %x, %v, want %x", back, err, data)
	}
}

// A credential says what its issuer wrote, and its presentation is accepted where it was meant for, and nowhere else.
func TestPresent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := deviceVC()
		holder := rapid.SampledFrom([]crypto.Signer{phone, laptop}).Draw(t, "holder")
		kid := rapid.SampledFrom([]string{"k1", "k2"}).Draw(t, "kid")
		v.Key, v.ID = holder.Public(), rapid.StringN(1, 50, 250).Draw(t, "jti")
		if !rapid.Bool().Draw(t, "has handle") {
			v.Handle = ""
		}
		v.Status = nil
		if rapid.Bool().Draw(t, "has status") {
			v.Status = &statuslist.Reference{Index: rapid.Uint64().Draw(t, "idx"), URI: rapid.StringN(1, 40, -1).Draw(t, "uri")}
		}
		b := cwt.Binding{Audience: rapid.StringN(1, 40, -1).Draw(t, "aud"), Nonce: rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "nonce")}
		data, err := v.Sign(signer(t, kid, peers[home].keys[kid]))
		if err != nil {
			t.Fatal(err)
		}
		token, err := cwt.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		checkToken(t, data, token)
		if !reflect.DeepEqual(token.VC, v) || token.KID != kid || token.KeyBinding != nil || !bytes.Equal(token.Bytes(), data) {
			t.Errorf("Parse = %+v, want %+v", token, v)
		}
		shown, err := token.Present(holder, b, now)
		if err != nil {
			t.Fatal(err)
		}
		o := options()
		o.Binding = &b
		c, err := cwt.Verify(t.Context(), shown, o)
		if err != nil || c.ID != v.ID || c.Identity.Device.String() != device || !reflect.DeepEqual(c.Key, v.Key) || c.JKT != jkt(t, holder) ||
			!reflect.DeepEqual(c.Status, v.Status) || c.Checked != (v.Status != nil) {
			t.Errorf("Verify = %+v, %v, want %+v", c, err, v)
		}
		if back, err := cwt.Parse(shown); err != nil || !bytes.Equal(back.Bytes(), data) || back.KeyBinding.Audience != b.Audience {
			t.Errorf("Parse = %+v, %v, want the credential", back, err)
		} else {
			checkToken(t, shown, back)
		}
		o.Binding = &cwt.Binding{Audience: b.Audience + "/", Nonce: b.Nonce}
		if _, err := cwt.Verify(t.Context(), shown, o); !errors.Is(err, credential.CodeAudience) {
			t.Errorf("Verify for another audience = %v", err)
		}
		o.Binding = &cwt.Binding{Audience: b.Audience, Nonce: append(slices.Clone(b.Nonce), 0)}
		if _, err := cwt.Verify(t.Context(), shown, o); !errors.Is(err, credential.CodeNonce) {
			t.Errorf("Verify with another nonce = %v", err)
		}
	})
}

// checkToken holds an accepted credential to the promises of every one.
func checkToken(t rapid.TB, data []byte, token *cwt.Token) {
	t.Helper()
	checkMessage(t, data)
	if alone, err := cwt.Parse(token.Bytes()); err != nil || !reflect.DeepEqual(alone.VC, token.VC) || alone.KeyBinding != nil {
		t.Errorf("the credential alone is %+v, %v, want %+v", alone, err, token.VC)
	}
	if (token.KeyBinding == nil) != bytes.Equal(data, token.Bytes()) {
		t.Errorf("key binding %v in %x", token.KeyBinding, data)
	}
	written, err := cwt.EncodeVC(token.VC)
	if err != nil {
		return // identifiers and times are checked by Verify
	}
	checkWritten(t, token.Payload(), written, vcLabels)
}

// A change of any bit is noticed.
func TestEveryBit(t *testing.T) {
	vc := deviceVC()
	shown := presented(t, issuedVC(t, vc, "k2", issuerEd25519), phone)
	for i := range shown {
		for bit := range 8 {
			changed := slices.Clone(shown)
			changed[i] ^= 1 << bit
			if c, err := cwt.Verify(t.Context(), changed, options()); err == nil || credential.Stands(err) {
				t.Errorf("bit %d of byte %d is another one: Verify = %+v, %v", bit, i, c, err)
			}
		}
	}
	token := signed(t, userSet(t), phone, "k2", issuerEd25519)
	for i := range token {
		changed := slices.Clone(token)
		changed[i] ^= 0x10
		if _, err := (&cwt.Decoder{Keys: peers}).Decode(t.Context(), changed); err == nil {
			t.Errorf("byte %d is another one, and the token is accepted", i)
		}
	}
}

// messages returns the messages of the vectors.
func messages(t testing.TB) [][]byte {
	t.Helper()
	var list [][]byte
	vectors := readVectors(t)
	for _, name := range slices.Sorted(maps.Keys(vectors)) {
		data, err := hex.DecodeString(vectors[name].Message)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) < 4096 {
			list = append(list, data)
		}
	}
	return list
}

// An accepted access token has one spelling, its claims could stand in a JWT, and written again they are the same.
func FuzzParseAccessToken(f *testing.F) {
	for _, data := range messages(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		token, err := cwt.ParseAccessToken(data)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		checkAccessToken(t, data, token)
	})
}

// An accepted credential has one spelling, with a key binding and alone, and its claims written again are the same.
func FuzzParse(f *testing.F) {
	for _, data := range messages(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		token, err := cwt.Parse(data)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		checkToken(t, data, token)
	})
}

// checkRefusal checks that an error has a code, and that it tells nothing of the message but names.
func checkRefusal(t rapid.TB, err error) {
	t.Helper()
	var refused *credential.Error
	if !errors.As(err, &refused) || refused.Code == "" {
		t.Fatalf("error %v, want a refusal", err)
	}
	for _, r := range err.Error() {
		if r > '~' || r < ' ' {
			t.Errorf("error %q", err)
			break
		}
	}
}
