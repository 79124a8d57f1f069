package oauth_test

import (
	"crypto"
	"net/url"
	"reflect"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/credential/cwt"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/statements"
)

// cwts are the CWTs of an issuer. Unable means that its key cannot sign any.
type cwts struct {
	i      *issuer
	unable bool
}

func (c *cwts) Signer() func(claims.Set, crypto.PublicKey) (string, error) {
	if c.unable {
		return nil
	}
	return func(set claims.Set, key crypto.PublicKey) (string, error) {
		if err := c.i.faults.before("SignCWT"); err != nil {
			return "", err
		}
		s, err := cwt.NewSigner(c.i.ring.Signer())
		if err != nil {
			return "", err
		}
		data, err := cwt.SignAccessToken(set, key, s)
		return cwt.Text(data), err
	}
}

func (*cwts) Parse(text string) (statements.UnverifiedToken, bool) {
	data, err := cwt.ReadText(text)
	if err != nil {
		return nil, false
	}
	t, err := cwt.ParseAccessToken(data)
	return t, err == nil
}

// cwtForm exchanges a token for a CWT.
func cwtForm(subject string) url.Values {
	return with(exchangeForm(subject, accessToken, ""), url.Values{"requested_token_type": {oauth.TypeCWT}})
}

// TestCWT holds that a CWT has the claims of the JWT, whenever it is made, and that both end together.
func TestCWT(t *testing.T) {
	i, phone := newIssuer(t, true), newDevice(t)
	held := i.login(t, i.user(t, "alice"), phone)
	i.advance(t, 4*time.Minute)
	for range 2 {
		a := i.token(t, "app", phone, cwtForm(held.AccessToken))
		u, ok := i.cwts.Parse(a.AccessToken)
		if !ok || a.IssuedTokenType != oauth.TypeCWT || a.TokenType != "DPoP" || a.ExpiresIn != 360 || a.RefreshToken != "" || a.Scope != "im:handle im:device" {
			t.Fatalf("answer = %+v, want a CWT for six minutes", a)
		}
		set, ok, err := i.made.VerifyToken(t.Context(), u)
		if !ok || err != nil || !reflect.DeepEqual(set, claimsOf(t, held.AccessToken)) {
			t.Errorf("claims = %+v, %v, %v, want those of the JWT", set, ok, err)
		}
	}
	twin := i.token(t, "app", phone, cwtForm(held.AccessToken)).AccessToken
	if err := i.Revoke(t.Context(), i.revocation(t, "other", phone, twin)); err != nil { // another client's is unknown to it
		t.Fatal(err)
	}
	i.token(t, "app", phone, cwtForm(held.AccessToken))
	if err := i.Revoke(t.Context(), i.revocation(t, "app", newDevice(t), twin)); err == nil {
		t.Error("a CWT was revoked by another key")
	}
	if err := i.Revoke(t.Context(), i.revocation(t, "app", phone, twin)); err != nil {
		t.Fatal(err)
	}
	i.refuses(t, i.request(t, "app", phone, cwtForm(held.AccessToken)), refusal{code: "invalid_request", description: "The subject_token is not valid"})
}

// TestCWTRefused holds every refusal of an exchange for a CWT.
func TestCWTRefused(t *testing.T) {
	const invalid = "invalid_request"
	i, phone, bobs, machine := newIssuer(t, true), newDevice(t), newDevice(t), newDevice(t)
	held, his := i.login(t, i.user(t, "alice"), phone), i.login(t, i.user(t, "bob"), bobs)
	twin := i.token(t, "app", phone, cwtForm(held.AccessToken)).AccessToken
	toBob := i.state(t, held.AccessToken, nested.Statement{Type: nested.TypeActor, Party: claimsOf(t, his.AccessToken).Subject, Scope: "im:handle"})
	acting := i.token(t, "app", bobs, exchangeForm(toBob.Token, statement, his.AccessToken)).AccessToken
	nest := claimsOf(t, held.AccessToken)
	var err error
	if nest.Tokens, err = nested.Build(nested.Entry{Relation: nested.ActsFor, Token: toBob.Token}); err != nil {
		t.Fatal(err)
	}
	wide := claimsOf(t, held.AccessToken)
	wide.Audience = append(wide.Audience, issuerURL)
	own := func(change url.Values) url.Values { return with(cwtForm(held.AccessToken), change) }
	for name, test := range map[string]struct {
		client string
		d      *device
		form   url.Values
		before func(t *testing.T) (after func())
		want   refusal
	}{
		"no proof": {"app", nil, own(nil), nil, refusal{err: dpop.ErrNoProof}},
		"a key that cannot sign": {"app", phone, own(nil), func(*testing.T) func() {
			i.cwts.unable = true
			return func() { i.cwts.unable = false }
		}, refusal{code: invalid, description: "The server signs with a key that cannot sign CWTs: only ES256 and EdDSA can."}},
		"no subject_token": {"app", phone, cwtForm(""), nil, refusal{code: invalid, description: "The parameter subject_token is missing."}},
		"a CWT":            {"app", phone, cwtForm(twin), nil, refusal{code: invalid, description: "The subject_token is a CWT already"}},
		"called a CWT": {"app", phone, own(url.Values{"subject_token_type": {oauth.TypeCWT}}), nil,
			refusal{code: invalid, description: "The subject_token is a CWT already: send the JWT that it was made of"}},
		"another type": {"app", phone, own(url.Values{"subject_token_type": {statement}}), nil,
			refusal{code: invalid, description: "The subject_token_type must be " + accessToken + " for a CWT, not '" + statement + "'."}},
		"an actor": {"app", phone, own(url.Values{"actor_token": {his.AccessToken}, "actor_token_type": {accessToken}}), nil,
			refusal{code: invalid, description: "A CWT is made of the client's own token alone"}},
		"evidence":       {"app", phone, own(url.Values{"im_evidence": {"false"}}), nil, refusal{code: invalid, description: "alone: send no"}},
		"tokens along":   {"app", phone, own(url.Values{"im_along": {"[]"}}), nil, refusal{code: invalid, description: "alone: send no"}},
		"garbage":        {"app", phone, cwtForm("garbage"), nil, refusal{code: invalid, description: "The subject_token is not valid"}},
		"another key's":  {"app", bobs, own(nil), nil, refusal{code: invalid, description: "The subject_token is another client's"}},
		"another client": {"service", machine, own(nil), nil, refusal{code: invalid, description: "The subject_token is another client's"}},
		"one who acts": {"app", bobs, cwtForm(acting), nil,
			refusal{code: invalid, description: "A CWT is made of a token that names no actor and encloses no tokens"}},
		"one that encloses tokens": {"app", phone, cwtForm(i.sign(t, nest)), nil, refusal{code: invalid, description: "encloses no tokens"}},
		"a narrower scope": {"app", phone, own(url.Values{"scope": {"im:handle"}}), nil,
			refusal{code: "invalid_scope", description: "A CWT has the scope of the subject_token, because a revocation of one is that of both"}},
		"a wider scope": {"app", phone, own(url.Values{"scope": {"im:handle introspect"}}), nil,
			refusal{code: "invalid_scope", description: "The scope 'introspect' cannot be granted here."}},
		"fewer resources": {"app", phone, with(cwtForm(i.sign(t, wide)), url.Values{"resource": {issuerURL}}), nil,
			refusal{code: "invalid_target", description: "A CWT is for the resources of the subject_token, because"}},
		"another resource": {"app", phone, own(url.Values{"resource": {issuerURL}}), nil,
			refusal{code: "invalid_target", description: "The subject_token is not for the resource"}},
		"a scope that the client lost": {"app", phone, own(nil),
			i.changing("app", func(c *clients.Client) { c.Scopes = []string{"im:handle"} }),
			refusal{code: "invalid_scope", description: "The client is no longer registered for the scope 'im:device'"}},
		"the user asks too often": {"app", phone, own(nil), func(*testing.T) func() {
			i.limits.user = errLimit
			return func() { i.limits.user = nil }
		}, refusal{err: errLimit}},
	} {
		t.Run(name, func(t *testing.T) {
			if test.before != nil {
				defer test.before(t)()
			}
			i.refuses(t, i.request(t, test.client, test.d, test.form), test.want)
		})
	}
}
