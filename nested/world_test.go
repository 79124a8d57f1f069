package nested_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
)

// The names of the world that the tests are set in.
const (
	home   = "https://issuer.example.com" // speaks for example.com
	bridge = "https://id.bridge.example"  // for bridge.example
	school = "https://id.school.example"  // for school.example
	old    = "https://issuer.old.example" // for old.example
	vouch  = "https://vouch.example"      // for vouch.example, with tokens for users of any domain
	rogue  = "https://rogue.example"      // not a peer

	alice       = "im:3h3aNq0mWk2o1c8vXfYJrg@example.com;id-type=user"
	aliceHandle = "im:%40alice@example.com"
	aliceDevice = "im:3h3aNq0mWk2o1c8vXfYJrg/072b@example.com"
	aliceOld    = "im:a11ce@old.example;id-type=user"
	bot         = "im:b07@bridge.example;id-type=user"
	botHandle   = "im:%40bot@bridge.example"
	child       = "im:k1d@school.example;id-type=user"
	team        = "im:wxyz=%23%23engineering@school.example"
	mallory     = "im:ma110ry@example.com;id-type=user"

	verifier = "im:verifier.example" // the audience of the outer tokens
)

// now is when everything happens.
var now = time.Date(2026, 5, 1, 13, 55, 0, 0, time.UTC)

// A signer is a party with a key.
type signer struct {
	issuer string // "" for a user's own key
	kid    string
	alg    string
	key    crypto.Signer
}

// newSigner returns an ECDSA or, for users, an Ed25519 key that is made from a name, so that vectors stay as they are.
func newSigner(issuer, name string) *signer {
	seed := sha256.Sum256([]byte(name))
	if issuer == "" || issuer == bridge {
		return &signer{issuer, name, jose.EdDSA, ed25519.NewKeyFromSeed(seed[:])}
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:])
	if err != nil {
		panic(err)
	}
	return &signer{issuer, name, jose.ES256, deterministic{key}}
}

// deterministic signs as RFC 6979 does.
type deterministic struct{ *ecdsa.PrivateKey }

func (d deterministic) Sign(_ io.Reader, sum []byte, opts crypto.SignerOpts) ([]byte, error) {
	return d.PrivateKey.Sign(nil, sum, opts)
}

var signers = map[string]*signer{}

func init() {
	for _, issuer := range []string{home, bridge, school, old, vouch, rogue} {
		signers[issuer] = newSigner(issuer, strings.TrimPrefix(issuer, "https://")+"-1")
	}
}

// The keys of users and devices.
var (
	aliceKey  = newSigner("", "alice's own key")
	otherKey  = newSigner("", "another key of alice's")
	deviceKey = newSigner("", "alice's phone")
	botKey    = newSigner("", "the bot")
)

func (s *signer) jkt() string {
	jkt, err := jose.Thumbprint(s.key.Public())
	if err != nil {
		panic(err)
	}
	return jkt
}

// sign is a [nested.SignFunc].
func (s *signer) sign(typ string, payload []byte) (string, error) {
	if s.issuer == "" {
		sign, err := nested.UserKey(s.key)
		if err != nil {
			return "", err
		}
		return sign(typ, payload)
	}
	return jose.Sign(s.key, s.alg, fmt.Appendf(nil, `{"typ":%q,"alg":%q,"kid":%q}`, typ, s.alg, s.kid), payload)
}

// A directory is the source of keys: the issuers that are believed, with their domains.
type directory map[string][]string

var peers = directory{
	home: {"example.com"}, bridge: {"bridge.example"}, school: {"school.example"}, old: {"old.example"}, vouch: {"vouch.example"},
}

func (d directory) Key(_ context.Context, issuer, kid string) (crypto.PublicKey, string, error) {
	s := signers[issuer]
	if d[issuer] == nil || s.kid != kid {
		return nil, "", claims.ErrIssuer
	}
	return s.key.Public(), s.alg, nil
}

func (d directory) Speaks(_ context.Context, issuer, domain string) error {
	if !slices.Contains(d[issuer], domain) {
		return claims.ErrDomain
	}
	return nil
}

// options are those of the verifier.
func options() nested.Options {
	return nested.Options{
		Keys: peers, Audience: []string{verifier}, Now: func() time.Time { return now }, Development: true,
	}
}

// A draft is a token that is about to be signed.
type draft struct {
	set  claims.Set       // of an access token
	st   nested.Statement // of a statement: its Type is not empty
	by   *signer
	edit func(payload string) string // the last word on the payload
	typ  string                      // instead of its own
	cty  string
}

// A change is what a test wants otherwise.
type change func(d *draft)

// inside embeds entries as they stand, without the checks of [nested.Build].
func inside(entries ...nested.Entry) change {
	var list []string
	for _, e := range entries {
		jws, err := jose.ParseCompact(e.Token, jose.Limits{Total: 1 << 20})
		if err != nil {
			panic(err)
		}
		typ, content := "jwt", tokenMember(e.Token)
		if jws.Header.Typ == nested.TypeAccessToken {
			typ = "access_token"
		}
		if e.ByDigest {
			var payload struct{ JTI string }
			if err := json.Unmarshal(jws.Payload, &payload); err != nil {
				panic(err)
			}
			typ += ":reference"
			content = digestOf("sha-256", hexSum(e.Token)) + fmt.Sprintf(`,"jti":%q`, payload.JTI)
		}
		list = append(list, fmt.Sprintf(`{"type":"urn:ietf:params:oauth:token-type:%s","rel":%q,%s}`, typ, e.Relation, content))
	}
	return raw("[" + strings.Join(list, ",") + "]")
}

// raw sets `tokens` to any JSON.
func raw(tokens string) change {
	return func(d *draft) { d.set.Tokens, d.st.Tokens = json.RawMessage(tokens), json.RawMessage(tokens) }
}

func value(rel nested.Relation, token string) nested.Entry {
	return nested.Entry{Relation: rel, Token: token}
}

func reference(rel nested.Relation, token string) nested.Entry {
	return nested.Entry{Relation: rel, Token: token, ByDigest: true}
}

// sign makes the token.
func (d *draft) sign(changes []change) string {
	for _, change := range changes {
		change(d)
	}
	sign := func(typ string, payload []byte) (string, error) {
		if d.edit != nil {
			payload = []byte(d.edit(string(payload)))
		}
		if d.typ != "" {
			typ = d.typ
		}
		if d.cty != "" {
			header := fmt.Sprintf(`{"typ":%q,"cty":%q,"alg":%q,"kid":%q}`, typ, d.cty, d.by.alg, d.by.kid)
			return jose.Sign(d.by.key, d.by.alg, []byte(header), payload)
		}
		return d.by.sign(typ, payload)
	}
	var token string
	var err error
	if d.st.Type == "" {
		token, err = sign(nested.TypeAccessToken, d.set.AppendJSON(nil))
	} else {
		token, err = d.st.Sign(sign)
	}
	if err != nil {
		panic(err)
	}
	return token
}

// at returns the time n minutes from now.
func at(n int) time.Time { return now.Add(time.Duration(n) * time.Minute) }

// access drafts an access token for ten minutes.
func access(by *signer, jti, sub, handle string, key *signer, aud string) *draft {
	return &draft{by: by, set: claims.Set{
		Issuer: by.issuer, Subject: sub, Handle: handle, Audience: []string{aud}, ClientID: "app", Scope: "im:handle im:device",
		JTI: jti, IssuedAt: at(-1), Expires: at(9), JKT: key.jkt(),
	}}
}

// aliceToken is the token of Alice's device, for the verifier.
func aliceToken(changes ...change) string {
	d := access(signers[home], "alice", alice, aliceHandle, deviceKey, verifier)
	d.set.Device = aliceDevice
	d.set.ACR, d.set.AMR, d.set.AuthTime = "loa2", []string{"pwd", "otp"}, at(-60)
	return d.sign(changes)
}

// userToken is the token of Alice without device.
func userToken(changes ...change) string {
	d := access(signers[home], "user", alice, aliceHandle, aliceKey, "im:example.com")
	d.set.ACR, d.set.AMR, d.set.AuthTime = "loa3", []string{"pwd"}, at(-90)
	d.set.Scope = "im:handle account"
	d.set.Expires = at(5)
	return d.sign(changes)
}

// botToken is the bot's own, for the verifier.
func botToken(changes ...change) string {
	d := access(signers[bridge], "bot", bot, botHandle, botKey, verifier)
	d.set.Scope = "im:handle"
	return d.sign(changes)
}

// exchanged is a token about Alice that the bot has, as RFC 8693 has it.
func exchanged(changes ...change) string {
	d := access(signers[home], "exchanged", alice, aliceHandle, botKey, verifier)
	d.set.Scope = "im:handle"
	d.set.Actor = &claims.Actor{Subject: bot, Issuer: bridge}
	return d.sign(changes)
}

// statement drafts a statement for two hours.
func statement(by *signer, typ, jti, sub, aud string) *draft {
	issuer := by.issuer
	if issuer == "" {
		issuer = sub
	}
	return &draft{by: by, st: nested.Statement{
		Type: typ, Issuer: issuer, Subject: sub, Audience: []string{aud}, JTI: jti, IssuedAt: at(-60), Expires: at(60),
	}}
}

// grant is a grant by Alice to the bot, signed by the issuer, until 14:05.
func grant(changes ...change) string {
	d := statement(signers[home], nested.TypeActor, "grant", alice, bridge)
	d.st.Party, d.st.PartyIssuer = bot, bridge
	d.st.Scope, d.st.Handle = "im:handle im:device", aliceHandle
	d.st.Expires = at(10)
	return d.sign(changes)
}

// delegation names Alice's own key.
func delegation(changes ...change) string {
	d := statement(signers[home], nested.TypeDelegation, "delegation", alice, "im:example.com")
	d.st.JKT, d.st.Handle = aliceKey.jkt(), aliceHandle
	d.st.IssuedAt = at(-120)
	d.st.Limits = &nested.Limits{Devices: "07*", Count: 3, Lifetime: 3 * time.Hour, Depth: 1,
		Statements: []string{nested.TypeActor, nested.TypeLink}}
	return d.sign(changes)
}

// subdelegation names another key, by Alice's own.
func subdelegation(changes ...change) string {
	d := statement(aliceKey, nested.TypeDelegation, "subdelegation", alice, alice)
	d.st.JKT = otherKey.jkt()
	d.st.Limits = &nested.Limits{Devices: "*", Count: 9, Lifetime: 9 * time.Hour, Depth: 1}
	return d.sign(changes)
}

// deviceStatement is by Alice's own key.
func deviceStatement(changes ...change) string {
	d := statement(aliceKey, nested.TypeDevice, "device", alice, verifier)
	d.st.Device, d.st.Number, d.st.JKT = aliceDevice, 1, deviceKey.jkt()
	d.st.Expires = at(30)
	return d.sign(append([]change{inside(value(nested.Cascade, delegation()))}, changes...))
}

// half is what sub says: it is the same person as the other.
func half(by *signer, sub, other string, changes ...change) string {
	d := statement(by, nested.TypeLink, "half of "+sub, sub, home)
	d.st.Party = other
	return d.sign(changes)
}

func rename(changes ...change) string {
	d := statement(signers[home], nested.TypeRename, "rename", alice, home)
	d.st.Handle, d.st.OldHandle = aliceHandle, "im:%40alex@example.com"
	return d.sign(changes)
}

func move(changes ...change) string {
	d := statement(signers[old], nested.TypeMove, "move", aliceOld, home)
	d.st.Party, d.st.Handle = alice, "im:%40alice@old.example"
	return d.sign(changes)
}

func member(changes ...change) string {
	d := statement(signers[school], nested.TypeMember, "member", team, home)
	d.st.Party, d.st.Role = alice, "lead"
	return d.sign(changes)
}

func guardian(changes ...change) string {
	d := statement(signers[school], nested.TypeGuardian, "guardian", child, home)
	d.st.Party, d.st.Handle = alice, "im:%40kim@school.example"
	return d.sign(changes)
}

// vouched is another issuer's token for the key of Alice's device.
func vouched(changes ...change) string {
	d := access(signers[vouch], "vouched", "im:n0b0dy@vouch.example;id-type=user", "", deviceKey, home)
	d.set.Scope = "im:handle"
	return d.sign(changes)
}

// edit replaces text in the payload.
func edit(from, to string) change {
	return func(d *draft) {
		d.edit = func(payload string) string {
			if !strings.Contains(payload, from) {
				panic(errors.New("nothing to edit: " + payload))
			}
			return strings.Replace(payload, from, to, 1)
		}
	}
}

func by(s *signer) change { return func(d *draft) { d.by = s } }
