package verdict_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/trust"
	"github.com/imidentity/issuer/verdict"
)

// An expired or revoked token of somebody else is no evidence about the subject, and neither is one by an issuer that may not speak for
// the subject.
func TestFromTreeOfAnother(t *testing.T) {
	const home, other = "https://id.example.net", "https://id.example.org"
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := jose.MarshalJWK(public)
	if err != nil {
		t.Fatal(err)
	}
	keys := fmt.Appendf(nil, `{"keys":[{"kid":"k1",%s]}`, jwk[1:])
	table, err := trust.NewTable(trust.Config{Development: true, Peers: []trust.Peer{
		{Domain: "example.com", Issuer: home, JWKS: keys}, {Domain: "example.org", Issuer: other, JWKS: keys},
	}})
	if err != nil {
		t.Fatal(err)
	}
	about := alice(t)
	about.JKT, err = jose.Thumbprint(public)
	if err != nil {
		t.Fatal(err)
	}
	alices := claims.Set{
		Issuer: home, Subject: about.User.String(), Handle: about.Handle.String(), Device: about.Device.String(),
		Audience: []string{"im:example.org"}, ClientID: "app", JTI: "t1", IssuedAt: now, Expires: now.Add(10 * time.Minute), JKT: about.JKT,
	}
	mallorys := alices
	mallorys.Subject, mallorys.Handle, mallorys.Device = "im:v@example.com;id-type=user", "", ""
	foreign := alices
	foreign.Issuer = other
	elsewhere := alices
	elsewhere.Audience = []string{"im:example.net"}
	mismatched := alices
	mismatched.Handle = "im:%40alice@example.org"
	for name, c := range map[string]struct {
		set     claims.Set
		at      time.Time
		revoked bool
		want    error
		code    verdict.Code
	}{
		"expired, of another user":      {mallorys, now.Add(time.Hour), false, verdict.ErrSubjects, ""},
		"revoked, of another user":      {mallorys, now, true, verdict.ErrSubjects, ""},
		"expired, by a foreign issuer":  {foreign, now.Add(time.Hour), false, nil, "refused"},
		"revoked, by a foreign issuer":  {foreign, now, true, nil, "foreign_domain"},
		"expired, for another verifier": {elsewhere, now.Add(time.Hour), false, nil, "refused"},
		"expired, with a wrong handle":  {mismatched, now.Add(time.Hour), false, nil, "refused"},
		"expired":                       {alices, now.Add(time.Hour), false, nil, verdict.CodeExpired},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := jose.Sign(private, jose.EdDSA, []byte(`{"typ":"at+jwt","alg":"EdDSA","kid":"k1"}`), c.set.AppendJSON(nil))
			if err != nil {
				t.Fatal(err)
			}
			tree, err := nested.Open(t.Context(), token, nested.Options{
				Keys: table, Audience: []string{"im:example.org"}, Now: func() time.Time { return c.at }, Development: true,
				Revoked: func(context.Context, *nested.Layer) (bool, error) { return c.revoked, nil },
			})
			v, err := verdict.FromTree(about, tree, err, c.at)
			if !errors.Is(err, c.want) {
				t.Fatalf("FromTree = %+v, %v, want %v", v, err, c.want)
			}
			if c.want == nil {
				same(finding(verdict.None, c.code)).compare(t, v)
			}
		})
	}
}

// A token that is bound to no key says nothing about a device with a key.
func TestFromAnswerWithoutKey(t *testing.T) {
	about := alice(t)
	answer := introspect.Answer{
		Active: true, Issuer: "https://id.example.net", Subject: about.User.String(), Device: about.Device.String(), Handle: about.Handle.String(),
		ClientID: "app", JTI: "t1", IssuedAt: now.Unix(), ExpiresAt: now.Add(time.Minute).Unix(),
	}
	v, err := verdict.FromAnswer(about, introspect.Result{Answer: answer}, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	want{good, none, good}.compare(t, v)
}

// A user and the device or handle of somebody else are two subjects, also if what names the device or handle names no user.
func TestDeviceOfAnotherUser(t *testing.T) {
	user, found := verdict.About{User: alice(t).User}, verdict.Finding{Result: verdict.Good, Checked: now}
	mallorys := parse(t, "im:v/72b@example.com")
	c := credential.Credential{Identity: claims.Identity{Device: mallorys}, JKT: "mallory's", Checked: true}
	if v, err := verdict.FromCredential(user, &c, nil, now); !errors.Is(err, verdict.ErrSubjects) {
		t.Errorf("FromCredential = %+v, %v, want %v", v, err, verdict.ErrSubjects)
	}
	for _, other := range []verdict.About{{Device: mallorys, JKT: c.JKT}, {Handle: parse(t, "im:%40alice@example.org")}} {
		d, err := verdict.Decide(verdict.DefaultPolicy(), []verdict.Verdict{
			{Method: verdict.Hierarchy, About: other, Device: found, Handle: found}, {Method: verdict.XSign, About: user, User: found},
		}, now)
		if !errors.Is(err, verdict.ErrSubjects) {
			t.Errorf("Decide = %+v, %v, want %v", d, err, verdict.ErrSubjects)
		}
	}
}

// What is said about a device without its key counts for no key: anyone may show a token that is bound to none.
func TestDecideDeviceWithoutKey(t *testing.T) {
	about, found := alice(t), verdict.Finding{Result: verdict.Good, Checked: now}
	keyless := about
	keyless.JKT = ""
	for _, list := range [][]verdict.Verdict{
		{{Method: verdict.Hierarchy, About: keyless, User: found, Device: found, Handle: found}, {Method: verdict.XSign, About: about}},
		{{Method: verdict.XSign, About: about}, {Method: verdict.Hierarchy, About: keyless, User: found, Device: found, Handle: found}},
	} {
		d := decide(t, verdict.DefaultPolicy(), list...)
		if d.Judgments[0].Outcome != verdict.Accepted || d.Judgments[1].Outcome != verdict.Refused || d.Outcome != verdict.Refused {
			t.Errorf("Decide = %+v, want the device refused", d)
		}
	}
}
