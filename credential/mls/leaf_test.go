package mls_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/mls"
	"github.com/imidentity/issuer/internal/jose"
)

var update = flag.Bool("update", false, "write the vectors in testdata/leaf anew")

// A leafVector is a file of testdata/leaf: a credential in a leaf, and the answer of Validate. Trusted is the issuer of testdata/leaf, and
// the entries 0 to 3 of its status list have the statuses 0 to 3.
type leafVector struct {
	Comment    string `json:"comment"`
	Credential string `json:"credential"` // in hexadecimal
	Now        int64  `json:"now"`        // in seconds since 1970, as are all times

	CipherSuite    uint16 `json:"cipher_suite"`
	SignatureKey   string `json:"signature_key"` // in hexadecimal
	NotBefore      uint64 `json:"not_before,omitempty"`
	NotAfter       uint64 `json:"not_after,omitempty"`
	Room           string `json:"room,omitempty"`
	FromKeyPackage bool   `json:"from_key_package,omitempty"`
	Time           int64  `json:"time,omitempty"`

	// Of the credentials that stand.
	Device       string `json:"device,omitempty"`
	User         string `json:"user,omitempty"`
	Handle       string `json:"handle,omitempty"`
	FormerHandle string `json:"former_handle,omitempty"`
	HandleEnded  bool   `json:"handle_ended,omitempty"`

	// Empty of good ones.
	Part string          `json:"part,omitempty"`
	Code credential.Code `json:"code,omitempty"`
}

func (v leafVector) leaf(t testing.TB) mls.Leaf {
	t.Helper()
	key, err := hex.DecodeString(v.SignatureKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf := mls.Leaf{CipherSuite: mls.CipherSuite(v.CipherSuite), SignatureKey: key, Room: v.Room, FromKeyPackage: v.FromKeyPackage}
	if v.NotBefore != 0 || v.NotAfter != 0 {
		leaf.Lifetime = &mls.Lifetime{NotBefore: v.NotBefore, NotAfter: v.NotAfter}
	}
	if v.Time != 0 {
		leaf.Time = time.Unix(v.Time, 0)
	}
	return leaf
}

func (v leafVector) bytes(t testing.TB) []byte {
	t.Helper()
	data, err := hex.DecodeString(v.Credential)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func readLeafVector(t testing.TB, file string) (v leafVector) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return v
}

// TestLeaf validates each vector: good ones, those of members whose credential or KeyPackage is over, and refused ones.
func TestLeaf(t *testing.T) {
	if *update {
		writeLeafVectors(t)
	}
	a := newAuthority(t)
	files, err := filepath.Glob("testdata/leaf/*/*.json")
	if err != nil || len(files) < 60 {
		t.Fatalf("%d vectors: %v", len(files), err)
	}
	for _, file := range files {
		folder := filepath.Base(filepath.Dir(file))
		t.Run(folder+"/"+strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			v := readLeafVector(t, file)
			var got credential.Credential
			c, err := mls.Parse(v.bytes(t))
			if err == nil {
				o := a.options()
				o.Now = func() time.Time { return time.Unix(v.Now, 0) }
				got, err = mls.Validate(t.Context(), c, v.leaf(t), o)
			}
			if stands := folder != "refused"; stands != credential.Stands(err) || (folder == "good") != (err == nil) {
				t.Fatalf("Validate = %v of a vector in %s", err, folder)
			}
			if folder != "good" {
				refused(t, "Validate", err, v.Part, v.Code)
			}
			if got.Identity.Device.String() != v.Device || got.Identity.User.String() != v.User || got.Identity.Handle.String() != v.Handle ||
				got.FormerHandle.String() != v.FormerHandle || got.HandleEnded != v.HandleEnded {
				t.Errorf("Validate = %+v, want %+v", got, v)
			}
		})
	}
}

// writeLeafVectors writes testdata/leaf.
func writeLeafVectors(t *testing.T) {
	if err := os.RemoveAll("testdata/leaf"); err != nil {
		t.Fatal(err)
	}
	jwk, err := jose.MarshalJWK(ed25519Key("issuer").Public())
	if err != nil {
		t.Fatal(err)
	}
	writeVector(t, "issuer", map[string]any{
		"comment": "the issuer of the credentials, which speaks for example.com",
		"issuer":  issuer, "domain": "example.com", "status_list": list,
		"jwks": json.RawMessage(fmt.Appendf(nil, `{"keys":[{"kid":"k1",%s]}`, jwk[1:])),
	})
	for _, c := range leafCases(t) {
		data := c.raw
		if data == nil {
			if data, err = c.credential.Marshal(); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
		}
		v := leafVector{
			Comment: c.comment, Credential: hex.EncodeToString(data), Now: c.now.Unix(), CipherSuite: uint16(c.leaf.CipherSuite),
			SignatureKey: hex.EncodeToString(c.leaf.SignatureKey), Room: c.leaf.Room, FromKeyPackage: c.leaf.FromKeyPackage,
			Part: c.part, Code: c.code,
		}
		if c.leaf.Lifetime != nil {
			v.NotBefore, v.NotAfter = c.leaf.Lifetime.NotBefore, c.leaf.Lifetime.NotAfter
		}
		if !c.leaf.Time.IsZero() {
			v.Time = c.leaf.Time.Unix()
		}
		if folder, _, _ := strings.Cut(c.name, "/"); folder != "refused" {
			v.Device, v.User = device, user
			switch {
			case c.handleEnded:
				v.HandleEnded, v.FormerHandle = true, c.handle
			default:
				v.Handle = c.handle
			}
		}
		writeVector(t, c.name, v)
	}
}

func writeVector(t *testing.T, name string, v any) {
	t.Helper()
	file := filepath.Join("testdata/leaf", name+".json")
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := errors.Join(encoder.Encode(v), os.MkdirAll(filepath.Dir(file), 0o755))
	if err == nil {
		err = os.WriteFile(file, b.Bytes(), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A leafCase is what a vector is made of.
type leafCase struct {
	name, comment string
	credential    *mls.Credential
	raw           []byte // instead of credential
	leaf          mls.Leaf
	now           time.Time
	handle        string
	handleEnded   bool
	part          string
	code          credential.Code
}

// leafCases returns the vectors by their folder and name.
func leafCases(t *testing.T) []leafCase {
	var cases []leafCase
	alice := ed25519Key("alice")
	add := func(name, comment string, c *mls.Credential, leaf mls.Leaf, change func(*leafCase)) {
		one := leafCase{name: name, comment: comment, credential: c, leaf: leaf, now: now}
		if change != nil {
			change(&one)
		}
		cases = append(cases, one)
	}
	refuse := func(part string, code credential.Code) func(*leafCase) {
		return func(c *leafCase) { c.part, c.code = part, code }
	}

	// Good ones.
	shown := func(c *leafCase) { c.handle = handle }
	c, leaf := bind(t, alice, 1, room, 0)
	add("good/rfc9420-5.1.1-ed25519", "a leaf in the room, no handle", c, leaf, nil)
	compacted := *c
	compacted.Compacted = true
	add("good/sd-cwt-credential-02-3.2-compacted", "the same, compacted", &compacted, leaf, nil)
	for _, one := range []struct {
		name  string
		suite mls.CipherSuite
		key   crypto.Signer
	}{
		{"suite-3", 3, alice}, {"p256", 2, ecdsaKey(elliptic.P256(), "alice")}, {"p384", 7, ecdsaKey(elliptic.P384(), "alice")},
		{"p521", 5, ecdsaKey(elliptic.P521(), "alice")},
	} {
		c, leaf := bind(t, one.key, one.suite, room, 0, "handle")
		add("good/rfc9420-5.1.1-"+one.name, "a key of another suite, with the handle", c, leaf, shown)
	}
	packed, packedLeaf := bind(t, alice, 1, "", 0, "handle")
	add("good/rfc9420-7.2-key-package", "a KeyPackage: bound to the domain of the device", packed, packedLeaf, shown)
	mimi := newEnvelope(alice)
	mimi.kbPayload = strings.Replace(mimi.kbPayload, room, "mimi://example.com", 1)
	add("good/rfc9420-7.2-key-package-mimi", "the domain of the device as a mimi: URI", jwt(t, mimi), packedLeaf, nil)
	kept := leaf
	kept.FromKeyPackage = true
	add("good/rfc9420-7.2-kept", "a later leaf with the credential of the KeyPackage", packed, kept, shown)
	add("good/rfc9420-7.2-kept-room", "the room is still accepted then", c, kept, nil)
	add("good/no-status", "a credential without a place in a status list", jwt(t, newEnvelope(alice)), leaf, nil)
	ended, _ := bind(t, alice, 1, room, 3, "handle")
	add("good/status-3-handle-shown", "only the handle has ended", ended, leaf, func(c *leafCase) { c.handle, c.handleEnded = handle, true })
	ended, _ = bind(t, alice, 1, room, 3)
	add("good/status-3-handle-hidden", "only the handle has ended, and it is not shown", ended, leaf, func(c *leafCase) { c.handleEnded = true })
	past := leaf
	past.Time = expires.Add(-time.Second)
	add("good/rfc9420-5.3.2-sent-before-the-end", "the leaf was sent a second before the credential expired", c, past, func(c *leafCase) { c.now = expires.Add(time.Hour) })
	future := leaf
	future.Time = now.Add(time.Hour)
	add("good/time-to-come", "a time to come means now", c, future, nil)
	add("good/last-second", "the last second of the credential", c, leaf, func(c *leafCase) { c.now = expires.Add(-time.Second) })
	justBound := newEnvelope(alice)
	justBound.kbPayload = strings.Replace(justBound.kbPayload, fmt.Sprint(bound.Unix()), fmt.Sprint(now.Add(30*time.Second).Unix()), 1)
	add("good/rfc9901-7.3-clocks-differ", "a key binding whose clock is 30 s ahead", jwt(t, justBound), leaf, nil)

	// Members whose credential is over.
	add("over/rfc9420-5.3.2-expired", "the first second after the credential", c, leaf, func(c *leafCase) { c.now, c.code = expires, credential.CodeExpired })
	add("over/rfc9420-5.3.2-sent-after-the-end", "the leaf was sent when the credential had expired", c, mls.Leaf{
		CipherSuite: 1, SignatureKey: leaf.SignatureKey, Room: room, Time: expires,
	}, func(c *leafCase) { c.now, c.code = expires.Add(time.Hour), credential.CodeExpired })
	gone, _ := bind(t, alice, 1, room, 1, "handle")
	add("over/status-1", "the device was removed", gone, leaf, func(c *leafCase) { c.handle, c.code = handle, credential.CodeEnded })
	add("over/status-1-sent-before", "the device was removed; when the leaf was sent does not matter", gone, past, func(c *leafCase) { c.handle, c.code = handle, credential.CodeEnded })
	short := packedLeaf
	short.Lifetime = &mls.Lifetime{NotBefore: uint64(bound.Unix()), NotAfter: uint64(now.Add(-time.Second).Unix())}
	add("over/rfc9420-7.3-lifetime", "the lifetime of the KeyPackage is over", packed, short, func(c *leafCase) { c.handle, c.part, c.code = handle, "lifetime", credential.CodeExpired })
	goneToo, _ := bind(t, alice, 1, "", 1)
	add("over/rfc9420-7.3-lifetime-and-status-1", "the lifetime is over, and the device was removed", goneToo, short, func(c *leafCase) { c.code = credential.CodeEnded })

	// The leaf and its key.
	with := func(change func(*mls.Leaf)) mls.Leaf {
		l := leaf
		change(&l)
		return l
	}
	wrongKey := refuse("signature_key", credential.CodeKey)
	mallory := signatureKey(t, 1, ed25519Key("mallory"))
	p256 := signatureKey(t, 2, ecdsaKey(elliptic.P256(), "alice"))
	add("refused/rfc9420-5.3-other-key", "the leaf has another key than the credential", c, with(func(l *mls.Leaf) { l.SignatureKey = mallory }), wrongKey)
	add("refused/rfc9420-5.3-key-of-another-curve", "an Ed25519 credential in a leaf of suite 2", c, with(func(l *mls.Leaf) {
		l.CipherSuite, l.SignatureKey = 2, p256
	}), wrongKey)
	add("refused/rfc9420-5.1.1-suite-of-another-curve", "the right bytes, in a suite of another curve", c, with(func(l *mls.Leaf) { l.CipherSuite = 2 }), wrongKey)
	add("refused/rfc9420-5.1.1-ed448", "a suite with Ed448", c, with(func(l *mls.Leaf) { l.CipherSuite = 4 }),
		refuse("cipher_suite", credential.CodeAlgorithm))
	add("refused/rfc9420-17.1-unknown-suite", "an unknown suite", c, with(func(l *mls.Leaf) { l.CipherSuite = 0xf001 }),
		refuse("cipher_suite", credential.CodeAlgorithm))
	add("refused/rfc9420-17.1-no-suite", "no suite", c, with(func(l *mls.Leaf) { l.CipherSuite = 0 }),
		refuse("cipher_suite", credential.CodeAlgorithm))
	add("refused/rfc9420-5.1.1-key-with-its-length", "the key with the length of the vector before it", c, with(func(l *mls.Leaf) {
		l.SignatureKey = append([]byte{32}, l.SignatureKey...)
	}), wrongKey)
	add("refused/rfc9420-5.1.1-short-key", "a key without its last byte", c, with(func(l *mls.Leaf) { l.SignatureKey = l.SignatureKey[:31] }), wrongKey)
	add("refused/rfc9420-5.1.1-no-key", "no key", c, with(func(l *mls.Leaf) { l.SignatureKey = nil }), wrongKey)
	point, pointLeaf := bind(t, ecdsaKey(elliptic.P256(), "alice"), 2, room, 0)
	compressed := append([]byte{2 + pointLeaf.SignatureKey[64]&1}, pointLeaf.SignatureKey[1:33]...)
	withPoint := func(key []byte) mls.Leaf {
		l := pointLeaf
		l.SignatureKey = key
		return l
	}
	add("refused/rfc9420-5.1.1-compressed-point", "the compressed point of the key", point, withPoint(compressed), wrongKey)
	add("refused/rfc9420-5.1.1-point-without-prefix", "the point without the byte 4", point, withPoint(pointLeaf.SignatureKey[1:]), wrongKey)
	add("refused/rfc9420-5.1.1-hybrid-point", "the hybrid form of the point", point, withPoint(append([]byte{6 + pointLeaf.SignatureKey[64]&1},
		pointLeaf.SignatureKey[1:]...)), wrongKey)

	// Room and KeyPackage.
	wrongAudience := refuse("key binding", credential.CodeAudience)
	add("refused/rfc9901-7.3-other-room", "bound to another room", c, with(func(l *mls.Leaf) { l.Room = "mimi://example.com/r/other" }), wrongAudience)
	add("refused/rfc9901-7.3-room-prefix", "the room begins with the audience", c, with(func(l *mls.Leaf) { l.Room += "2" }), wrongAudience)
	add("refused/rfc9901-7.3-room-case", "the room differs in case", c, with(func(l *mls.Leaf) { l.Room = "mimi://example.com/r/Clubhouse" }), wrongAudience)
	add("refused/rfc9901-7.3-room-in-key-package", "bound to the room, in a KeyPackage", c, packedLeaf, wrongAudience)
	bothLeaf := packedLeaf
	bothLeaf.Room = room
	add("refused/rfc9901-7.3-room-in-key-package-of-a-group", "the same, and the room is known", c, bothLeaf, wrongAudience)
	add("refused/rfc9901-7.3-key-package-in-room", "bound to the domain, in a leaf of the room", packed, leaf, wrongAudience)
	audience := func(aud string) *mls.Credential {
		e := newEnvelope(alice)
		e.kbPayload = strings.Replace(e.kbPayload, `"aud":"`+room+`"`, `"aud":`+aud, 1)
		return jwt(t, e)
	}
	add("refused/rfc9901-7.3-other-domain-in-key-package", "bound to another domain than that of the device", audience(`"im:example.org"`), packedLeaf, wrongAudience)
	add("refused/rfc9901-7.3-bare-domain-in-key-package", "bound to the domain without a scheme", audience(`"example.com"`), packedLeaf, wrongAudience)
	add("refused/rfc9901-4.3-several-audiences", "an audience that is a list", audience(`["`+room+`"]`), leaf, refuse("key binding", credential.CodeBinding))
	add("refused/rfc9901-4.3-empty-audience", "an empty audience", audience(`""`), leaf, refuse("key binding", credential.CodeBinding))
	lifetime := func(before, after time.Time) mls.Leaf {
		l := packedLeaf
		l.Lifetime = &mls.Lifetime{NotBefore: uint64(before.Unix()), NotAfter: uint64(after.Unix())}
		return l
	}
	add("refused/rfc9420-7.3-lifetime-to-come", "a KeyPackage that is not yet valid", packed, lifetime(now.Add(time.Second), now.Add(time.Hour)),
		refuse("lifetime", credential.CodeNotYetValid))
	add("refused/rfc9420-7.3-lifetime-too-long", "a lifetime of more than 120 days", packed, lifetime(bound, bound.Add(mls.MaxLifetime+time.Second)),
		refuse("lifetime", credential.CodeAge))
	add("refused/rfc9420-7.3-lifetime-backwards", "a lifetime that ends before it begins", packed, lifetime(now.Add(time.Hour), now.Add(-time.Hour)),
		refuse("lifetime", credential.CodeAge))
	add("refused/rfc9420-7.3-lifetime-of-nothing", "a lifetime that ends when it begins", packed, lifetime(now, now), refuse("lifetime", credential.CodeAge))
	forever := packedLeaf
	forever.Lifetime = &mls.Lifetime{NotAfter: 1<<63 - 1}
	add("refused/rfc9420-7.3-lifetime-without-end", "a lifetime from 1970 to the end of time", packed, forever, refuse("lifetime", credential.CodeAge))
	wrapped := packedLeaf
	wrapped.Lifetime = &mls.Lifetime{NotBefore: 1<<64 - 2, NotAfter: 1<<64 - 1}
	add("refused/rfc9420-7.3-lifetime-at-the-end-of-time", "a lifetime whose times are negative as int64", packed, wrapped, refuse("lifetime", credential.CodeNotYetValid))

	// The key binding.
	altered := func(change func(*envelope)) *mls.Credential {
		e := newEnvelope(alice)
		change(&e)
		return jwt(t, e)
	}
	swap := func(text *string, old, new string) {
		if !strings.Contains(*text, old) {
			t.Fatalf("%q is not in %q", old, *text)
		}
		*text = strings.Replace(*text, old, new, 1)
	}
	nonce := mls.Nonce(leaf.SignatureKey)
	kb := func(name, comment, old, new string, code credential.Code) {
		add("refused/"+name, comment, altered(func(e *envelope) { swap(&e.kbPayload, old, new) }), leaf, refuse("key binding", code))
	}
	kb("rfc9901-7.3-nonce-of-another-key", "the nonce of another key", nonce, mls.Nonce(mallory), credential.CodeNonce)
	kb("rfc9901-7.3-nonce-padded", "the nonce with padding", nonce, nonce+"=", credential.CodeNonce)
	kb("rfc9901-7.3-nonce-of-the-vector", "the nonce of the key with its length", nonce, mls.Nonce(append([]byte{32}, leaf.SignatureKey...)),
		credential.CodeNonce)
	kb("rfc9901-4.3-nonce-is-the-key", "the thumbprint of the key as the nonce", nonce, thumbprint(t, alice.Public()), credential.CodeNonce)
	kb("rfc9901-4.3-no-nonce", "no nonce", `,"nonce":"`+nonce+`"`, "", credential.CodeBinding)
	kb("rfc9901-4.3-no-time", "no iat", fmt.Sprintf(`,"iat":%d`, bound.Unix()), "", credential.CodeBinding)
	kb("rfc9901-4.3-two-audiences", "aud twice", `{"aud"`, `{"aud":"mimi://example.com/r/other","aud"`, credential.CodeBinding)
	kb("rfc9901-7.3-of-the-future", "made two minutes from now", fmt.Sprint(bound.Unix()), fmt.Sprint(now.Add(2*time.Minute).Unix()), credential.CodeAge)
	add("refused/rfc9901-7.3-after-the-leaf", "made two minutes after the leaf was sent", altered(func(e *envelope) {
		swap(&e.kbPayload, fmt.Sprint(bound.Unix()), fmt.Sprint(now.Add(-time.Hour).Unix()))
	}), with(func(l *mls.Leaf) { l.Time = now.Add(-time.Hour - 2*time.Minute) }), refuse("key binding", credential.CodeAge))
	late := newEnvelope(alice)
	swap(&late.kbPayload, fmt.Sprint(bound.Unix()), fmt.Sprint(now.Unix()))
	swap(&late.kbPayload, room, "im:example.com")
	add("refused/rfc9901-7.3-after-the-lifetime", "made when the lifetime of the KeyPackage was over", jwt(t, late),
		lifetime(bound, now.Add(-2*time.Minute)), refuse("key binding", credential.CodeAge))
	add("refused/rfc9901-4.3-other-hash", "made for another SD-JWT", altered(func(e *envelope) { e.hash = nonce }), leaf, refuse("key binding", credential.CodeHash))
	add("refused/rfc9901-4.3-typ", "a key binding of the typ JWT", altered(func(e *envelope) { e.kbTyp = "JWT" }), leaf, refuse("key binding", credential.CodeBinding))
	add("refused/rfc9901-4.3-proof", "a DPoP proof as the key binding", altered(func(e *envelope) { e.kbTyp = jose.TypeProof }), leaf, refuse("key binding", credential.CodeBinding))
	add("refused/rfc9901-7.3-signed-by-another-key", "signed by another key than the credential's", altered(func(e *envelope) {
		e.key = ed25519Key("mallory")
	}), leaf, refuse("key binding", credential.CodeKey))

	// The credential itself.
	vcPayload := func(name, comment, old, new, part string, code credential.Code) {
		add("refused/"+name, comment, altered(func(e *envelope) { swap(&e.payload, old, new) }), leaf, refuse(part, code))
	}
	typ := func(name, comment, typ string) {
		add("refused/"+name, comment, altered(func(e *envelope) { e.typ = typ }), leaf, refuse("typ", credential.CodeType))
	}
	typ("rfc9068-2.1-access-token", "an access token in the place of the credential", jose.TypeAccessToken)
	typ("sd-jwt-vc-2.2.1-old-typ", "the typ of former drafts", "vc+sd-jwt")
	typ("rfc8725-3.11-jwt", "the typ JWT", "JWT")
	access, err := signer{}.Sign(jose.TypeAccessToken, fmt.Appendf(nil, `{"iss":%q,"sub":%q,"device":%q,"cnf":{"jkt":%q}}`, issuer, user, device,
		thumbprint(t, alice.Public())))
	if err != nil {
		t.Fatal(err)
	}
	add("refused/rfc9068-4-access-token-alone", "an access token without anything", nil, leaf, func(c *leafCase) {
		c.raw = append([]byte{0, 6, 0, 0x40 | byte(len(access)>>8), byte(len(access))}, access...)
		c.part, c.code = "sd_jwt_kb", credential.CodeMalformed
	})
	vcPayload("rfc9068-2.2-key-by-thumbprint", "the key as a thumbprint, as in access tokens", `"cnf":{"jwk":`, `"cnf":{"jkt":"`+nonce+`","jwk":`, "cnf",
		credential.CodeClaim)
	vcPayload("sd-jwt-vc-2.2.2.1-other-vct", "a credential of another type", credential.VCT, "https://example.com/diploma", "vct", credential.CodeType)
	vcPayload("sub-is-the-user", "the user as the subject", device, user, "sub", credential.CodeClaim)
	vcPayload("device-of-another-user", "the device of another user", device, "im:v/72b@example.com", "sub", credential.CodeClaim)
	vcPayload("no-device", "no subject", fmt.Sprintf(`"sub":%q,`, device), "", "sub", credential.CodeClaim)
	vcPayload("no-user", "no user", fmt.Sprintf(`"user":%q,`, user), "", "user", credential.CodeClaim)
	vcPayload("unknown-issuer", "an issuer that is not trusted", issuer, "https://id.example.org", "iss", credential.CodeIssuer)
	vcPayload("not-yet-valid", "a credential of the future", fmt.Sprint(issued.Unix()), fmt.Sprint(now.Add(time.Second).Unix()), "", credential.CodeNotYetValid)
	vcPayload("lives-too-long", "a life of two years", fmt.Sprint(expires.Unix()), fmt.Sprint(issued.AddDate(2, 0, 0).Unix()), "exp", credential.CodeClaim)
	foreign := newEnvelope(alice)
	foreign.payload = strings.ReplaceAll(foreign.payload, "@example.com", "@example.org")
	add("refused/foreign-domain", "a domain that the issuer does not speak for", jwt(t, foreign), leaf, refuse("iss", credential.CodeDomain))
	unused, _ := bind(t, alice, 1, room, 2)
	add("refused/status-2", "a status that no credential has", unused, leaf, refuse("status", credential.CodeStatus))
	add("refused/rfc9901-7.1-disclosure-without-digest", "a disclosure that the issuer did not sign", altered(func(e *envelope) {
		e.disclosures = []string{`["c2FsdA","handle","im:%40bob@example.com"]`}
	}), leaf, refuse("disclosure 1", credential.CodeDisclosure))
	early := with(func(l *mls.Leaf) { l.Time = issued.Add(-time.Second) })
	add("refused/sent-before-the-credential", "the leaf was sent before the credential was issued and bound", c, early,
		refuse("key binding", credential.CodeAge))

	toCome := with(func(l *mls.Leaf) { l.Time = now })
	add("refused/time-to-come-before-the-credential", "the time of the leaf is to come, and so is the credential", c, toCome, func(c *leafCase) {
		c.now, c.part, c.code = issued.Add(-time.Hour), "key binding", credential.CodeAge
	})
	add("refused/rfc9068-2.2-access-token-as-issued", "an access token with its key as a thumbprint", altered(func(e *envelope) {
		e.typ = jose.TypeAccessToken
		e.payload = fmt.Sprintf(`{"iss":%q,"sub":%q,"device":%q,"cnf":{"jkt":%q}}`, issuer, user, device, thumbprint(t, alice.Public()))
	}), leaf, refuse("typ", credential.CodeType))

	// Other types.
	add("refused/rfc9420-5.3-x509", "a type without a verifier", &mls.Credential{Type: mls.X509, Certificates: [][]byte{{0x30, 0}}}, leaf,
		refuse("credential_type", credential.CodeType))
	add("refused/sd-cwt-credential-02-3.1", "a type without a verifier", &mls.Credential{Type: mls.SDCWT, CWT: []byte{0xd2, 0x84}}, leaf,
		refuse("credential_type", credential.CodeType))
	add("refused/rfc9420-5.3-basic", "a bare name", nil, leaf, func(c *leafCase) {
		c.raw, c.part, c.code = append([]byte{0, 1, byte(len(device))}, device...), "credential_type", credential.CodeType
	})
	return cases
}

func signatureKey(t testing.TB, suite mls.CipherSuite, key crypto.Signer) []byte {
	t.Helper()
	b, err := suite.SignatureKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func thumbprint(t testing.TB, key crypto.PublicKey) string {
	t.Helper()
	s, err := jose.Thumbprint(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// jwt returns the credential with an envelope.
func jwt(t testing.TB, e envelope) *mls.Credential {
	t.Helper()
	return &mls.Credential{Type: mls.SDJWT, JWT: e.text(t)}
}
