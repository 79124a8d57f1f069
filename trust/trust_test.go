package trust_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/trust"
)

// publicKey returns an Ed25519 key that is the same for the same seed.
func publicKey(seed byte) ed25519.PublicKey {
	return ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune(seed)), ed25519.SeedSize))).Public().(ed25519.PublicKey)
}

// jwks returns a key set that has a key of each name, made from its first letter.
func jwks(kids ...string) []byte {
	keys := []map[string]any{}
	for _, kid := range kids {
		raw, err := jose.MarshalJWK(publicKey(kid[0]))
		if err != nil {
			panic(err)
		}
		key := map[string]any{}
		if err := json.Unmarshal(raw, &key); err != nil {
			panic(err)
		}
		key["kid"] = kid
		keys = append(keys, key)
	}
	set, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	return set
}

func newTable(t *testing.T, cfg trust.Config) *trust.Table {
	t.Helper()
	cfg.Development = true
	table, err := trust.NewTable(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestTable(t *testing.T) {
	const a, b, c = "https://a.example", "https://b.example/im", "https://c.example"
	table := newTable(t, trust.Config{Peers: []trust.Peer{
		{Domain: "One.example", Issuer: a, JWKS: jwks("k")},
		{Domain: "two.example", Issuer: a, JWKS: jwks("k")},
		{Domain: "two.example", Issuer: b, JWKS: jwks("k")},
		{Domain: "three.example", Issuer: b, JWKS: jwks("k"), Suspended: true},
		{Domain: "four.example", Issuer: c, JWKS: jwks("k"), Suspended: true},
	}})

	for _, v := range []struct {
		issuer, domain string
		want           error
	}{
		{a, "one.example", nil},
		{a, "two.example", nil},
		{b, "two.example", nil},
		{b, "one.example", trust.ErrForeignDomain},
		{b, "three.example", trust.ErrSuspended},
		{c, "four.example", trust.ErrSuspended},
		{c, "one.example", trust.ErrForeignDomain},
		{a, "one.example.", trust.ErrForeignDomain}, // not canonical
		{a + "/", "one.example", trust.ErrUntrusted},
		{"", "", trust.ErrUntrusted},
	} {
		if err := table.Speaks(t.Context(), v.issuer, v.domain); err != v.want {
			t.Errorf("Speaks(%s, %s) = %v, want %v", v.issuer, v.domain, err, v.want)
		}
	}
	for domain, want := range map[string]any{
		"one.example": []string{a}, "two.example": []string{a, b}, "three.example": trust.ErrSuspended, "five.example": trust.ErrUntrusted,
	} {
		issuers, err := table.Issuers(domain)
		if urls, ok := want.([]string); ok && !slices.Equal(issuers, urls) || !ok && err != want {
			t.Errorf("Issuers(%s) = %v, %v, want %v", domain, issuers, err, want)
		}
	}
	for issuer, want := range map[string]any{
		a: []string{"one.example", "two.example"}, b: []string{"two.example"}, c: trust.ErrSuspended, "x": trust.ErrUntrusted,
	} {
		domains, err := table.Domains(issuer)
		if names, ok := want.([]string); ok && !slices.Equal(domains, names) || !ok && err != want {
			t.Errorf("Domains(%s) = %v, %v, want %v", issuer, domains, err, want)
		}
	}

	for _, v := range []struct {
		issuer, kid string
		want        error
	}{
		{a, "k", nil}, {b, "k", nil}, {a, "x", trust.ErrUnknownKey}, {a, "", trust.ErrUnknownKey},
		{c, "k", trust.ErrSuspended}, {"https://x.example", "k", trust.ErrUntrusted},
	} {
		key, alg, err := table.Key(t.Context(), v.issuer, v.kid)
		if err != v.want {
			t.Errorf("Key(%s, %s) = %v, want %v", v.issuer, v.kid, err, v.want)
		}
		if err == nil && (alg != jose.EdDSA || !publicKey('k').Equal(key)) {
			t.Errorf("Key(%s, %s) = %v, %s", v.issuer, v.kid, key, alg)
		}
	}
}

// What holds only an interface tells "no" from "cannot know" by the errors of claims.
func TestRefusals(t *testing.T) {
	for _, err := range []error{trust.ErrUntrusted, trust.ErrSuspended, trust.ErrUnknownKey} {
		if !errors.Is(err, claims.ErrIssuer) {
			t.Errorf("%v is no ErrIssuer", err)
		}
	}
	if !errors.Is(trust.ErrForeignDomain, claims.ErrDomain) {
		t.Errorf("%v is no ErrDomain", trust.ErrForeignDomain)
	}
	if err := trust.ErrUnavailable; errors.Is(err, claims.ErrIssuer) || errors.Is(err, claims.ErrDomain) {
		t.Errorf("%v is a refusal", err)
	}
}

func TestNewTableRefuses(t *testing.T) {
	const issuer = "https://a.example"
	good := trust.Peer{Domain: "one.example", Issuer: issuer, JWKS: jwks("k")}
	private := strings.Replace(string(jwks("k")), `"kty"`, `"d":"AAAA","kty"`, 1)
	for name, peers := range map[string][]trust.Peer{
		"no domain":        {{Issuer: issuer, JWKS: jwks("k")}},
		"reserved domain":  {{Domain: "a.invalid", Issuer: issuer, JWKS: jwks("k")}},
		"no issuer":        {{Domain: "one.example", JWKS: jwks("k")}},
		"issuer, query":    {{Domain: "one.example", Issuer: issuer + "?", JWKS: jwks("k")}},
		"issuer, fragment": {{Domain: "one.example", Issuer: issuer + "#a", JWKS: jwks("k")}},
		"issuer, user":     {{Domain: "one.example", Issuer: "https://me@a.example", JWKS: jwks("k")}},
		"issuer, scheme":   {{Domain: "one.example", Issuer: "ftp://a.example", JWKS: jwks("k")}},
		"twice":            {good, good},
		"other keys":       {good, {Domain: "two.example", Issuer: issuer, JWKS: jwks("l")}},
		"keys and none":    {good, {Domain: "two.example", Issuer: issuer}},
		"no set":           {{Domain: "one.example", Issuer: issuer, JWKS: []byte(`[]`)}},
		"empty set":        {{Domain: "one.example", Issuer: issuer, JWKS: []byte(`{"keys":[]}`)}},
		"keys no array":    {{Domain: "one.example", Issuer: issuer, JWKS: []byte(`{"keys":1}`)}},
		"keys twice":       {{Domain: "one.example", Issuer: issuer, JWKS: []byte(`{"keys":[],"keys":[]}`)}},
		"KEYS":             {{Domain: "one.example", Issuer: issuer, JWKS: []byte(`{"KEYS":[]}`)}},
		"private key":      {{Domain: "one.example", Issuer: issuer, JWKS: []byte(private)}},
		"one kid, two":     {{Domain: "one.example", Issuer: issuer, JWKS: jwks("k", "k", "k")}},
		"too many":         {{Domain: "one.example", Issuer: issuer, JWKS: jwks(slices.Repeat([]string{"k"}, 65)...)}},
	} {
		if _, err := trust.NewTable(trust.Config{Peers: peers, Development: true}); err == nil {
			t.Errorf("NewTable with %s = nil, want an error", name)
		}
	}
	for name, cfg := range map[string]trust.Config{
		"http":    {Peers: []trust.Peer{{Domain: "one.com", Issuer: "http://a.com", JWKS: jwks("k")}}},
		"example": {Peers: []trust.Peer{good}},
		"stale":   {Stale: 1},
	} {
		if _, err := trust.NewTable(cfg); err == nil {
			t.Errorf("NewTable with %s = nil, want an error", name)
		}
	}
}

// Keys of other kinds do not spoil a set.
func TestOtherKeys(t *testing.T) {
	set := strings.Replace(string(jwks("k", "m", "m")), `[`, `[{"kty":"oct","k":"AAAA","kid":"s"},{"kty":"PQ","kid":"p"},`, 1)
	table := newTable(t, trust.Config{Peers: []trust.Peer{{Domain: "one.example", Issuer: "https://a.example", JWKS: []byte(set)}}})
	for kid, want := range map[string]error{"k": nil, "m": trust.ErrUnknownKey, "s": trust.ErrUnknownKey, "p": trust.ErrUnknownKey} {
		if _, _, err := table.Key(t.Context(), "https://a.example", kid); err != want {
			t.Errorf("Key(%s) = %v, want %v", kid, err, want)
		}
	}
}

// Two peers, one of which is not believed for the domain of the other.
func ExampleTable() {
	table, err := trust.NewTable(trust.Config{
		Peers: []trust.Peer{
			{Domain: "example.com", Issuer: "https://issuer.example.com", JWKS: jwks("k1")},
			{Domain: "bridge.example", Issuer: "https://id.bridge.example", JWKS: jwks("b1")},
		},
		Development: true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	fmt.Println(table.Issuers("example.com"))
	fmt.Println(table.Speaks(ctx, "https://id.bridge.example", "example.com"))
	_, alg, err := table.Key(ctx, "https://id.bridge.example", "b1")
	fmt.Println(alg, err)
	// Output:
	// [https://issuer.example.com] <nil>
	// trust: the issuer does not speak for this domain
	// EdDSA <nil>
}
