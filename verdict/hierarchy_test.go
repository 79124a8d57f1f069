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

// A want is the result and code of the findings about user, device and handle.
type want struct{ user, device, handle verdict.Finding }

func finding(r verdict.Result, c verdict.Code) verdict.Finding {
	return verdict.Finding{Result: r, Code: c}
}

func same(f verdict.Finding) want { return want{f, f, f} }

func (w want) compare(t *testing.T, v verdict.Verdict) {
	t.Helper()
	for i, f := range verdict.Facets() {
		got, wanted := v.Finding(f), []verdict.Finding{w.user, w.device, w.handle}[i]
		if got.Result != wanted.Result || got.Code != wanted.Code {
			t.Errorf("%s: %q %q, want %q %q", f, got.Result, got.Code, wanted.Result, wanted.Code)
		}
	}
}

var good, none = finding(verdict.Good, ""), finding("", "")

// What a verifier of credentials returns becomes a finding.
func TestFromCredential(t *testing.T) {
	about := alice(t)
	who := claims.Identity{User: about.User, Device: about.Device, Handle: about.Handle}
	hidden := claims.Identity{User: about.User, Device: about.Device}
	unreachable := errors.New("unreachable")
	for name, c := range map[string]struct {
		identity claims.Identity
		ended    bool // the handle
		err      error
		want     want
	}{
		"good":          {who, false, nil, same(good)},
		"handle hidden": {hidden, false, nil, want{good, good, none}},
		"handle ended":  {hidden, true, nil, want{good, good, finding(verdict.Bad, verdict.CodeEnded)}},
		"expired":       {who, false, &credential.Error{Code: credential.CodeExpired}, same(finding(verdict.None, verdict.CodeExpired))},
		"ended":         {who, false, &credential.Error{Code: credential.CodeEnded}, same(finding(verdict.Bad, verdict.CodeEnded))},
		"forged":        {claims.Identity{}, false, &credential.Error{Code: credential.CodeSignature}, same(finding(verdict.None, "bad_signature"))},
		"not known":     {claims.Identity{}, false, unreachable, same(finding(verdict.Unknown, ""))},
	} {
		t.Run(name, func(t *testing.T) {
			held := &credential.Credential{ID: "c1", Identity: c.identity, JKT: about.JKT, Checked: true, HandleEnded: c.ended}
			if c.ended {
				held.FormerHandle = about.Handle
			}
			v, err := verdict.FromCredential(about, held, c.err, now)
			if err != nil || v.About != about {
				t.Fatalf("FromCredential = %+v, %v", v, err)
			}
			c.want.compare(t, v)
		})
	}
	other := &credential.Credential{Identity: who, JKT: "another"}
	if v, err := verdict.FromCredential(about, other, nil, now); !errors.Is(err, verdict.ErrSubjects) {
		t.Errorf("for another key FromCredential = %+v, %v", v, err)
	}
	unasked := about
	unasked.Handle = claims.ID{}
	renamed := &credential.Credential{Identity: hidden, JKT: about.JKT, HandleEnded: true, FormerHandle: about.Handle}
	if v, err := verdict.FromCredential(unasked, renamed, nil, now); err != nil || !v.About.Handle.IsZero() || v.Handle != none {
		t.Errorf("FromCredential = %+v, %v, want nothing about a handle that was not asked about", v, err)
	}
}

// What nested.Open returns for a real token becomes a finding.
func TestFromTree(t *testing.T) {
	const issuer = "https://id.example.net"
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := jose.MarshalJWK(public)
	if err != nil {
		t.Fatal(err)
	}
	jkt, err := jose.Thumbprint(public)
	if err != nil {
		t.Fatal(err)
	}
	table, err := trust.NewTable(trust.Config{Development: true, Peers: []trust.Peer{
		{Domain: "example.com", Issuer: issuer, JWKS: fmt.Appendf(nil, `{"keys":[{"kid":"k1",%s]}`, jwk[1:])},
	}})
	if err != nil {
		t.Fatal(err)
	}
	about := alice(t)
	about.JKT = jkt
	set := claims.Set{
		Issuer: issuer, Subject: about.User.String(), Handle: about.Handle.String(), Device: about.Device.String(),
		Audience: []string{"im:example.org"}, ClientID: "app", JTI: "t1", IssuedAt: now, Expires: now.Add(10 * time.Minute), JKT: jkt,
	}
	sign := func(set claims.Set) string {
		token, err := jose.Sign(private, jose.EdDSA, []byte(`{"typ":"at+jwt","alg":"EdDSA","kid":"k1"}`), set.AppendJSON(nil))
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	open := func(token string, at time.Time, revoked func(context.Context, *nested.Layer) (bool, error)) (verdict.Verdict, error) {
		tree, err := nested.Open(t.Context(), token, nested.Options{
			Keys: table, Audience: []string{"im:example.org"}, Revoked: revoked, Now: func() time.Time { return at }, Development: true,
		})
		return verdict.FromTree(about, tree, err, at)
	}
	token := sign(set)
	for name, c := range map[string]struct {
		token   string
		at      time.Time
		revoked func(context.Context, *nested.Layer) (bool, error)
		want    want
	}{
		"good":      {token, now, func(context.Context, *nested.Layer) (bool, error) { return false, nil }, same(good)},
		"offline":   {token, now, nil, same(good)},
		"revoked":   {token, now, func(context.Context, *nested.Layer) (bool, error) { return true, nil }, same(finding(verdict.Bad, verdict.CodeEnded))},
		"expired":   {token, now.Add(time.Hour), nil, same(finding(verdict.None, verdict.CodeExpired))},
		"not known": {token, now, func(context.Context, *nested.Layer) (bool, error) { return false, errors.New("away") }, same(finding(verdict.Unknown, ""))},
		"forged":    {token[:len(token)-8] + "AAAAAAAA", now, nil, same(finding(verdict.None, "bad_signature"))},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := open(c.token, c.at, c.revoked)
			if err != nil {
				t.Fatal(err)
			}
			c.want.compare(t, v)
			if isLookedUp := !v.User.Checked.IsZero(); isLookedUp == (name == "offline") {
				t.Errorf("Checked = %v", v.User.Checked)
			}
		})
	}
	about.JKT = "another"
	if v, err := open(token, now, nil); !errors.Is(err, verdict.ErrSubjects) {
		t.Errorf("for another key FromTree = %+v, %v", v, err)
	}
	service := set
	service.Subject, service.Handle, service.Device, service.JKT = "app", "", "", ""
	if v, err := open(sign(service), now, nil); !errors.Is(err, verdict.ErrSubjects) {
		t.Errorf("for a service FromTree = %+v, %v", v, err)
	}
}

// What an issuer answers becomes a finding. That a token is inactive says nothing without a reason.
func TestFromAnswer(t *testing.T) {
	about := alice(t)
	active := introspect.Answer{
		Active: true, Issuer: "https://id.example.net", Subject: about.User.String(), Device: about.Device.String(), Handle: about.Handle.String(),
		ClientID: "app", JTI: "t1", IssuedAt: now.Unix(), ExpiresAt: now.Add(time.Minute).Unix(), Confirmation: &introspect.Confirmation{JKT: about.JKT},
	}
	for name, c := range map[string]struct {
		answer introspect.Answer
		err    error
		want   want
	}{
		"active":          {active, nil, same(good)},
		"inactive":        {introspect.Answer{}, nil, same(finding(verdict.None, ""))},
		"expired":         {introspect.Answer{Reason: introspect.Expired}, nil, same(finding(verdict.None, verdict.CodeExpired))},
		"revoked":         {introspect.Answer{Reason: introspect.Revoked}, nil, same(finding(verdict.Bad, verdict.CodeEnded))},
		"device removed":  {introspect.Answer{Reason: introspect.DeviceRemoved}, nil, same(finding(verdict.Bad, verdict.CodeEnded))},
		"user disabled":   {introspect.Answer{Reason: introspect.UserDisabled}, nil, same(finding(verdict.Bad, verdict.CodeEnded))},
		"handle changed":  {introspect.Answer{Reason: introspect.HandleChanged}, nil, same(finding(verdict.None, "handle_changed"))},
		"no answer":       {introspect.Answer{}, fmt.Errorf("%w: away", introspect.ErrUnknown), same(finding(verdict.Unknown, ""))},
		"answer in grace": {active, nil, same(good)},
	} {
		t.Run(name, func(t *testing.T) {
			stale := name == "answer in grace"
			v, err := verdict.FromAnswer(about, introspect.Result{Answer: c.answer, Stale: stale}, c.err, now)
			if err != nil || v.About != about {
				t.Fatalf("FromAnswer = %+v, %v", v, err)
			}
			c.want.compare(t, v)
			if stale && !v.User.Checked.IsZero() {
				t.Errorf("Checked = %v for an old answer", v.User.Checked)
			}
		})
	}
	if v, err := verdict.FromAnswer(about, introspect.Result{}, introspect.ErrCaller, now); !errors.Is(err, introspect.ErrCaller) {
		t.Errorf("after a wrong question FromAnswer = %+v, %v", v, err)
	}
	active.Subject = "im:v@example.com;id-type=user"
	if v, err := verdict.FromAnswer(about, introspect.Result{Answer: active}, nil, now); !errors.Is(err, verdict.ErrSubjects) {
		t.Errorf("for another user FromAnswer = %+v, %v", v, err)
	}
}
