package chaining_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/chaining"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
)

const (
	home = "https://id.home.example"
	away = "https://id.away.example"
	jkt  = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
)

var (
	now   = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	key   = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	other = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

type object = map[string]any

// made is a grant as the home issuer makes it.
func made() chaining.Grant {
	return chaining.Grant{
		Issuer: home, Subject: "im:BFuVxW5BfJc8R7Qw@home.example;id-type=user", Handle: "im:%40alice@home.example",
		Device: "im:BFuVxW5BfJc8R7Qw/72b@home.example", Audience: away, ClientID: "app", Scope: "im:handle im:device", JTI: "one",
		IssuedAt: now, Expires: now.Add(chaining.Life), AuthTime: now.Add(-time.Hour), ACR: "phr", AMR: []string{"pwd"}, JKT: jkt,
	}
}

// signed is the text of a grant with changes to header and claims; a claim that is nil is left out.
func signed(by *ecdsa.PrivateKey, header, change object) string {
	g := made()
	h := object{"typ": "im-authz-grant+jwt", "alg": "ES256", "kid": "k1"}
	var c object
	if err := json.Unmarshal(g.AppendClaims(nil), &c); err != nil {
		panic(err)
	}
	for _, m := range []struct{ to, from object }{{h, header}, {c, change}} {
		maps.Copy(m.to, m.from)
		maps.DeleteFunc(m.to, func(_ string, v any) bool { return v == nil })
	}
	return must(jose.Sign(by, "ES256", must(json.Marshal(h)), must(json.Marshal(c))))
}

func options() chaining.Options {
	return chaining.Options{Issuer: away, ClientID: "app", JKT: jkt, Now: now, Development: true}
}

// keys are those of the home issuer.
type keys struct{ err error }

func (k keys) Key(_ context.Context, issuer, kid string) (crypto.PublicKey, string, error) {
	switch {
	case k.err != nil:
		return nil, "", k.err
	case issuer != home || kid != "k1":
		return nil, "", fmt.Errorf("no such key: %w", claims.ErrIssuer)
	}
	return key.Public(), jose.ES256, nil
}

func (keys) Speaks(context.Context, string, string) error { return nil }

func TestGrant(t *testing.T) {
	g := made()
	text := must(jose.Sign(key, "ES256", []byte(`{"typ":"im-authz-grant+jwt","alg":"ES256","kid":"k1"}`), g.AppendClaims(nil)))
	got, err := chaining.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := got.Check(options()); err != nil {
		t.Errorf("Check = %v", err)
	}
	if err := got.Verify(t.Context(), keys{}); err != nil {
		t.Errorf("Verify = %v", err)
	}
	if got.Domain() != "home.example" || got.SpentUntil() != g.Expires.Add(time.Minute) {
		t.Errorf("Domain = %q, SpentUntil = %v", got.Domain(), got.SpentUntil())
	}
	if again := must(chaining.Parse(signed(key, nil, object{"scope": "im:handle"}))); again.ID() != got.ID() {
		t.Error("two grants with one jti have two ids")
	}
	if another := must(chaining.Parse(signed(key, nil, object{"jti": "two"}))); another.ID() == got.ID() {
		t.Error("two grants have one id")
	}
	if string(got.AppendClaims(nil)) != string(g.AppendClaims(nil)) {
		t.Errorf("AppendClaims = %s, want %s", got.AppendClaims(nil), g.AppendClaims(nil))
	}
	for name, change := range map[string]object{
		"without what may be absent":   {"handle": nil, "device": nil, "auth_time": nil, "acr": nil, "amr": nil, "scope": nil},
		"aud as a list":                {"aud": []string{away}},
		"an unknown claim":             {"groups": []string{"x"}},
		"made by a clock ahead":        {"iat": now.Add(time.Minute).Unix(), "exp": now.Add(2 * time.Minute).Unix()},
		"about to expire, with leeway": {"iat": now.Add(-2 * time.Minute).Unix(), "exp": now.Add(-59 * time.Second).Unix()},
		"as long as may be":            {"exp": now.Add(5 * time.Minute).Unix()},
	} {
		g, err := chaining.Parse(signed(key, nil, change))
		if err == nil {
			err = g.Check(options())
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRefused(t *testing.T) {
	for name, v := range map[string]struct {
		header, claims object
		part           string
	}{
		"an access token":          {object{"typ": "at+jwt"}, nil, "typ"},
		"typ in another case":      {object{"typ": "IM-authz-grant+jwt"}, nil, "typ"},
		"no typ":                   {object{"typ": nil}, nil, "typ"},
		"no kid":                   {object{"kid": nil}, nil, "kid"},
		"a key in the header":      {object{"jwk": object{"kty": "EC"}}, nil, "jwk"},
		"alg none":                 {object{"alg": "none"}, nil, "signature"},
		"another alg":              {object{"alg": "ES384"}, nil, "signature"},
		"crit":                     {object{"crit": []string{"exp"}}, nil, "crit"},
		"no iss":                   {nil, object{"iss": nil}, "iss"},
		"its own issuer":           {nil, object{"iss": away}, "iss"},
		"another issuer":           {nil, object{"iss": "https://id.other.example"}, "iss"},
		"no sub":                   {nil, object{"sub": nil}, "sub"},
		"a client":                 {nil, object{"sub": "app", "handle": nil, "device": nil}, "sub"},
		"no user":                  {nil, object{"sub": "alice"}, "sub"},
		"a handle as sub":          {nil, object{"sub": "im:%40alice@home.example"}, "sub"},
		"another spelling":         {nil, object{"sub": "im:BFuVxW5BfJc8R7Qw@Home.example;id-type=user"}, "sub"},
		"a handle elsewhere":       {nil, object{"handle": "im:%40alice@away.example"}, "handle"},
		"a device elsewhere":       {nil, object{"device": "im:BFuVxW5BfJc8R7Qw/72b@away.example"}, "device"},
		"the device of another":    {nil, object{"device": "im:other/72b@home.example"}, "device"},
		"no aud":                   {nil, object{"aud": nil}, "aud"},
		"another aud":              {nil, object{"aud": home}, "aud"},
		"the token endpoint":       {nil, object{"aud": away + "/token"}, "aud"},
		"aud with a slash":         {nil, object{"aud": away + "/"}, "aud"},
		"two auds":                 {nil, object{"aud": []string{away, home}}, "aud"},
		"no client_id":             {nil, object{"client_id": nil}, "client_id"},
		"another client":           {nil, object{"client_id": "other"}, "client_id"},
		"no jti":                   {nil, object{"jti": nil}, "jti"},
		"a long jti":               {nil, object{"jti": strings.Repeat("j", 256)}, "jti"},
		"no iat":                   {nil, object{"iat": nil}, "iat"},
		"iat in the future":        {nil, object{"iat": now.Add(61 * time.Second).Unix(), "exp": now.Add(2 * time.Minute).Unix()}, "iat"},
		"no exp":                   {nil, object{"exp": nil}, "exp"},
		"expired":                  {nil, object{"iat": now.Add(-2 * time.Minute).Unix(), "exp": now.Add(-time.Minute).Unix()}, "exp"},
		"too long":                 {nil, object{"exp": now.Add(5*time.Minute + time.Second).Unix()}, "exp"},
		"exp before iat":           {nil, object{"exp": now.Unix()}, "exp"},
		"milliseconds":             {nil, object{"exp": now.UnixMilli()}, "payload"},
		"nbf":                      {nil, object{"nbf": now.Add(61 * time.Second).Unix()}, "nbf"},
		"no key":                   {nil, object{"cnf": nil}, "cnf"},
		"no thumbprint":            {nil, object{"cnf": object{"jkt": "x"}}, "cnf"},
		"another key":              {nil, object{"cnf": object{"jkt": strings.Replace(jkt, "0Z", "1Z", 1)}}, "cnf"},
		"an actor":                 {nil, object{"act": object{"sub": "bot"}}, "act"},
		"for an actor":             {nil, object{"may_act": object{"sub": "bot"}}, "may_act"},
		"tokens inside":            {nil, object{"tokens": []any{}}, "tokens"},
		"a nested JWT":             {nil, object{"njwt": "x"}, "njwt"},
		"chained before":           {nil, object{"home_iss": home}, "home_iss"},
		"a status":                 {nil, object{"status": object{"status_list": object{"idx": 1, "uri": "https://x.example"}}}, "status"},
		"a claim in another case":  {nil, object{"Sub": "x"}, "payload"},
		"the key of somebody else": {object{"kid": "k2"}, nil, "iss"},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := chaining.Parse(signed(key, v.header, v.claims))
			if err == nil {
				err = g.Check(options())
			}
			if err == nil {
				err = g.Verify(t.Context(), keys{})
			}
			var e *chaining.Error
			if !errors.As(err, &e) || e.Part != v.part {
				t.Errorf("refused with %v, want a refusal of %s", err, v.part)
			}
		})
	}
	for name, text := range map[string]string{
		"nothing": "", "no JWS": "a.b.c", "too long": signed(key, nil, object{"groups": strings.Repeat("x", 9<<10)}),
	} {
		if g, err := chaining.Parse(text); err == nil {
			t.Errorf("Parse of %s = %+v, want an error", name, g)
		}
	}
	forged := must(chaining.Parse(signed(other, nil, nil)))
	if e := (*chaining.Error)(nil); !errors.As(forged.Verify(t.Context(), keys{}), &e) || e.Part != "signature" {
		t.Errorf("Verify of a forged grant = %v, want a refusal", e)
	}
	// An outage is no refusal.
	away := errors.New("no answer")
	good := must(chaining.Parse(signed(key, nil, nil)))
	if err := good.Verify(t.Context(), keys{away}); !errors.Is(err, away) {
		t.Errorf("Verify = %v, want %v", err, away)
	}
}

// FuzzParse checks that an accepted grant is about a user and bound to a key, that its claims are written as they were read, and that
// a refusal names the part.
func FuzzParse(f *testing.F) {
	f.Add(signed(key, nil, nil))
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, text string) {
		g, err := chaining.Parse(text)
		if err != nil {
			if e := (*chaining.Error)(nil); !errors.As(err, &e) || e.Part == "" {
				t.Errorf("Parse = %v, want an *Error with a part", err)
			}
			return
		}
		if g.Subject == "" || g.Domain() == "" || g.JKT == "" || g.Audience == "" || g.Subject == g.ClientID {
			t.Errorf("Parse = %+v", g)
		}
		_ = g.Check(options())
		again, err := claims.ParseSet(g.AppendClaims(nil))
		if err != nil {
			t.Fatalf("ParseSet of what was written = %v", err)
		}
		if want := (chaining.Grant{
			Issuer: again.Issuer, Subject: again.Subject, Handle: again.Handle, Device: again.Device, Audience: again.Audience[0],
			ClientID: again.ClientID, Scope: again.Scope, JTI: again.JTI, IssuedAt: again.IssuedAt, Expires: again.Expires,
			AuthTime: again.AuthTime, ACR: again.ACR, AMR: again.AMR, JKT: again.JKT,
		}); !reflect.DeepEqual(string(want.AppendClaims(nil)), string(g.AppendClaims(nil))) {
			t.Errorf("read %+v, and wrote %+v", g, want)
		}
	})
}
