package introspect_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/introspect"
)

// A renewed is a peer that has published another key under its kid.
type renewed struct {
	*authority
	now *ecdsa.PrivateKey
	err error
}

func (r *renewed) OtherKey(context.Context, string, string, crypto.PublicKey) (crypto.PublicKey, string, error) {
	if r.err != nil {
		return nil, "", r.err
	}
	return r.now.Public(), jose.ES256, nil
}

func TestStaple(t *testing.T) {
	s, a := newNesting(t, 0)
	set := alice()
	token := s.issue(t, jose.TypeAccessToken, set)
	good := introspect.NewStaple(&set, dpop.ATH(token), start.Add(time.Second/2))
	if good.IssuedAt != start || good.Expires != start.Add(introspect.StapleLife) {
		t.Errorf("NewStaple = %+v, want whole seconds, and the longest life", good)
	}
	if late := introspect.NewStaple(&set, dpop.ATH(token), set.Expires.Add(-time.Second)); late.Expires != set.Expires {
		t.Errorf("NewStaple = %+v, want it to expire with the token", late)
	}
	sign := func(typ string, payload []byte) string {
		text, err := s.ring.Sign(typ, payload)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	with := func(change func(*introspect.Staple)) string {
		changed := good
		change(&changed)
		return sign(jose.TypeStaple, changed.AppendClaims(nil))
	}
	now := start.Add(time.Minute)
	open := func(staple, token, issuer string) (introspect.Staple, error) {
		return introspect.OpenStaple(t.Context(), staple, token, introspect.StapleOptions{Issuer: issuer, Keys: a, Now: func() time.Time { return now }})
	}
	staple := sign(jose.TypeStaple, good.AppendClaims(nil))
	if got, err := open(staple, token, issuer); err != nil || got != (introspect.Staple{Issuer: issuer, ATH: dpop.ATH(token), IssuedAt: good.IssuedAt.UTC(), Expires: good.Expires.UTC()}) {
		t.Fatalf("OpenStaple = %+v, %v, want %+v", got, err, good)
	}
	payload := good.AppendClaims(nil)
	foreign, err := jose.Sign(a.peer, jose.ES256, []byte(`{"typ":"im-staple+jwt","alg":"ES256","kid":"school-1"}`), payload)
	if err != nil {
		t.Fatal(err)
	}
	kid, _, _ := s.ring.Signer()
	forged, err := jose.Sign(a.peer, jose.ES256, fmt.Appendf(nil, `{"typ":"im-staple+jwt","alg":"ES256","kid":%q}`, kid), payload)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ staple, part string }{
		"nothing":              {"", "form"},
		"much":                 {strings.Repeat("a", 1<<20), "form"},
		"the token":            {token, "typ"},
		"a signed answer":      {sign(jose.TypeIntrospection, payload), "typ"},
		"no JSON":              {sign(jose.TypeStaple, []byte("x")), "payload"},
		"without exp":          {sign(jose.TypeStaple, []byte(strings.Replace(string(payload), `"exp"`, `"until"`, 1))), "payload"},
		"ath twice":            {sign(jose.TypeStaple, []byte(strings.Replace(string(payload), `{`, `{"ath":"x",`, 1))), "payload"},
		"another issuer":       {with(func(s *introspect.Staple) { s.Issuer = school }), "iss"},
		"another token":        {with(func(s *introspect.Staple) { s.ATH = dpop.ATH("other") }), "ath"},
		"of the future":        {with(func(s *introspect.Staple) { s.IssuedAt, s.Expires = now.Add(time.Second), now.Add(time.Minute) }), "iat"},
		"expired":              {with(func(s *introspect.Staple) { s.Expires = now }), "exp"},
		"too long":             {with(func(s *introspect.Staple) { s.Expires = start.Add(introspect.StapleLife + time.Second) }), "exp"},
		"by another issuer":    {foreign, "signature"},
		"by another key":       {forged, "signature"},
		"with another ending":  {staple[:len(staple)-4] + "AAAA", "signature"},
		"without a signature":  {staple[:strings.LastIndex(staple, ".")+1], "signature"},
		"with another payload": {strings.Replace(staple, ".", ".e30", 1), "payload"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := open(test.staple, token, issuer)
			if !errors.Is(err, introspect.ErrStaple) || !(strings.HasSuffix(err.Error(), ": "+test.part) || strings.HasSuffix(err.Error(), ": form")) {
				t.Errorf("OpenStaple = %+v, %v, want %v: %s", got, err, introspect.ErrStaple, test.part)
			}
		})
	}
	if got, err := open(staple, token+"A", issuer); !errors.Is(err, introspect.ErrStaple) {
		t.Errorf("OpenStaple for another token = %+v, %v, want %v", got, err, introspect.ErrStaple)
	}
	if got, err := introspect.OpenStaple(t.Context(), staple, token, introspect.StapleOptions{Issuer: issuer}); err == nil {
		t.Errorf("OpenStaple without keys = %+v, want an error", got)
	}
}

// A key that cannot be known now is no refusal, and neither is one that the issuer has replaced.
func TestStapleKeys(t *testing.T) {
	_, a := newNesting(t, 0)
	set := alice(func(set *claims.Set) { set.Issuer = school })
	now := newHolderKey(t)
	made := introspect.NewStaple(&set, dpop.ATH("token"), start)
	staple, err := jose.Sign(now, jose.ES256, []byte(`{"typ":"im-staple+jwt","alg":"ES256","kid":"school-1"}`), made.AppendClaims(nil))
	if err != nil {
		t.Fatal(err)
	}
	keys := &renewed{authority: a, now: now}
	o := introspect.StapleOptions{Issuer: school, Keys: keys, Now: func() time.Time { return start }}
	if got, err := introspect.OpenStaple(t.Context(), staple, "token", o); err != nil {
		t.Errorf("OpenStaple = %+v, %v with the new key, want nil", got, err)
	}
	keys.err = errAway
	if got, err := introspect.OpenStaple(t.Context(), staple, "token", o); !errors.Is(err, errAway) || errors.Is(err, introspect.ErrStaple) {
		t.Errorf("OpenStaple = %+v, %v, want %v", got, err, errAway)
	}
	keys.err = claims.ErrIssuer
	if got, err := introspect.OpenStaple(t.Context(), staple, "token", o); !errors.Is(err, introspect.ErrStaple) {
		t.Errorf("OpenStaple = %+v, %v without another key, want %v", got, err, introspect.ErrStaple)
	}
	a.key = errAway
	if got, err := introspect.OpenStaple(t.Context(), staple, "token", o); !errors.Is(err, errAway) {
		t.Errorf("OpenStaple = %+v, %v, want %v", got, err, errAway)
	}
}
