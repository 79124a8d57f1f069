package statuslist_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/statuslist"
)

// A signer signs as an issuer does.
type signer struct {
	kid, alg string
	key      crypto.Signer
}

func newSigner(t testing.TB, kid, alg string) *signer {
	t.Helper()
	s, err := makeSigner(kid, alg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func makeSigner(kid, alg string) (s *signer, err error) {
	s = &signer{kid: kid, alg: alg}
	if alg == jose.EdDSA {
		_, s.key, err = ed25519.GenerateKey(rand.Reader)
	} else {
		s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	return s, err
}

func (s *signer) Sign(typ string, claims []byte) (string, error) {
	return s.signWith(fmt.Sprintf(`{"typ":%q,"alg":%q,"kid":%q}`, typ, s.alg, s.kid), claims)
}

func (s *signer) signWith(header string, claims []byte) (string, error) {
	return jose.Sign(s.key, s.alg, []byte(header), claims)
}

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

const (
	home    = "https://id.example.net"
	listURI = "https://id.example.net/status/7hJ4kQ"
)

// newToken returns the token of a list in which index 7 is invalid.
func newToken(t testing.TB) *statuslist.Token {
	t.Helper()
	list, err := statuslist.New(1, 1<<17)
	if err != nil {
		t.Fatal(err)
	}
	if err := list.Set(7, statuslist.Invalid); err != nil {
		t.Fatal(err)
	}
	return &statuslist.Token{
		Issuer: home, Subject: listURI, IssuedAt: noon, Expires: noon.Add(15 * time.Minute), TTL: time.Minute, List: list,
	}
}

func TestSignAndParse(t *testing.T) {
	for _, alg := range []string{jose.ES256, jose.EdDSA} {
		s, want := newSigner(t, "k1", alg), newToken(t)
		signed, err := want.Sign(s)
		if err != nil {
			t.Fatal(err)
		}
		got, err := statuslist.Parse(signed, statuslist.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if err := got.Verify(alg, s.key.Public()); err != nil {
			t.Error(err)
		}
		if got.Issuer != want.Issuer || got.Subject != want.Subject || !got.IssuedAt.Equal(want.IssuedAt) ||
			!got.Expires.Equal(want.Expires) || got.TTL != want.TTL || got.Kid != "k1" || got.Alg != alg {
			t.Errorf("Parse = %+v, want %+v", got, want)
		}
		for i := range uint64(want.List.Len()) {
			a, _ := want.List.At(i)
			if b, err := got.List.At(i); a != b || err != nil {
				t.Fatalf("At(%d) = %v, %v, want %v", i, b, err, a)
			}
		}
		if err := got.Verify(alg, newSigner(t, "k1", alg).key.Public()); !errors.Is(err, statuslist.ErrKey) {
			t.Errorf("Verify with another key = %v, want %v", err, statuslist.ErrKey)
		}
	}
}

func TestSignIncomplete(t *testing.T) {
	for name, change := range map[string]func(*statuslist.Token){
		"sub":  func(k *statuslist.Token) { k.Subject = "" },
		"iat":  func(k *statuslist.Token) { k.IssuedAt = time.Time{} },
		"list": func(k *statuslist.Token) { k.List = nil },
	} {
		k := newToken(t)
		change(k)
		if _, err := k.Sign(newSigner(t, "k1", jose.ES256)); err == nil {
			t.Errorf("a token without %s was signed", name)
		}
	}
}

// TestDraftToken reads the response of §8.2 as it is printed there. The draft does not publish its key.
func TestDraftToken(t *testing.T) {
	text, err := os.ReadFile("testdata/draft-20/section-8.2-token.jwt")
	if err != nil {
		t.Fatal(err)
	}
	token, err := statuslist.Parse(strings.TrimSpace(string(text)), statuslist.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if token.Subject != "https://example.com/statuslists/1" || token.Issuer != "https://example.com" || token.Kid != "12" ||
		token.IssuedAt.Unix() != 1686920170 || token.Expires.Unix() != 2291720170 || token.TTL != 43200*time.Second ||
		token.List.Bits() != 1 || token.List.Len() != 16 {
		t.Errorf("Parse = %+v", token)
	}
}

// lst returns the compressed form of a list of n bytes, as a claim has it.
func lst(t testing.TB, n int) string { return base64.RawURLEncoding.EncodeToString(zeros(t, n)) }

func TestParseRefuses(t *testing.T) {
	s := newSigner(t, "k1", jose.ES256)
	claims := func(list string) string {
		return `{"sub":"` + listURI + `","iat":1777636800,"exp":1777637700,"ttl":60,"status_list":` + list + `}`
	}
	good := `{"bits":1,"lst":"eNrbuRgAAhcBXQ"}`
	const header = `{"typ":"statuslist+jwt","alg":"ES256","kid":"k1"}`
	if signed, err := s.signWith(header, []byte(claims(good))); err != nil {
		t.Fatal(err)
	} else if _, err := statuslist.Parse(signed, statuslist.Limits{}); err != nil {
		t.Fatalf("Parse of the good one = %v", err)
	}
	for name, v := range map[string]struct {
		header, claims string
		want           error
	}{
		"an access token":      {`{"typ":"at+jwt","alg":"ES256"}`, claims(good), statuslist.ErrMalformed},
		"typ in CWT":           {`{"typ":"statuslist+cwt","alg":"ES256"}`, claims(good), statuslist.ErrMalformed},
		"typ in capitals":      {`{"typ":"STATUSLIST+JWT","alg":"ES256"}`, claims(good), statuslist.ErrMalformed},
		"no typ":               {`{"alg":"ES256"}`, claims(good), statuslist.ErrMalformed},
		"crit":                 {`{"typ":"statuslist+jwt","alg":"ES256","crit":["x"],"x":1}`, claims(good), statuslist.ErrMalformed},
		"not JSON":             {header, `list`, statuslist.ErrMalformed},
		"no sub":               {header, `{"iat":1777636800,"status_list":` + good + `}`, statuslist.ErrMalformed},
		"no iat":               {header, `{"sub":"` + listURI + `","status_list":` + good + `}`, statuslist.ErrMalformed},
		"no status_list":       {header, `{"sub":"` + listURI + `","iat":1777636800}`, statuslist.ErrMalformed},
		"iat in milliseconds":  {header, `{"sub":"x","iat":1777636800000,"status_list":` + good + `}`, statuslist.ErrMalformed},
		"exp as text":          {header, `{"sub":"x","iat":1,"exp":"2","status_list":` + good + `}`, statuslist.ErrMalformed},
		"aud":                  {header, `{"sub":"x","iat":1,"aud":"me","status_list":` + good + `}`, statuslist.ErrMalformed},
		"ttl of zero":          {header, `{"sub":"x","iat":1,"ttl":0,"status_list":` + good + `}`, statuslist.ErrMalformed},
		"ttl below zero":       {header, `{"sub":"x","iat":1,"ttl":-60,"status_list":` + good + `}`, statuslist.ErrMalformed},
		"ttl as text":          {header, `{"sub":"x","iat":1,"ttl":"60","status_list":` + good + `}`, statuslist.ErrMalformed},
		"status_list twice":    {header, `{"sub":"x","iat":1,"status_list":` + good + `,"status_list":` + good + `}`, statuslist.ErrMalformed},
		"Status_List":          {header, `{"sub":"x","iat":1,"Status_List":` + good + `}`, statuslist.ErrMalformed},
		"status_list as array": {header, claims(`[` + good + `]`), statuslist.ErrMalformed},
		"no lst":               {header, claims(`{"bits":1}`), statuslist.ErrMalformed},
		"lst as array":         {header, claims(`{"bits":1,"lst":["eNrbuRgAAhcBXQ"]}`), statuslist.ErrMalformed},
		"lst with padding":     {header, claims(`{"bits":1,"lst":"eNrbuRgAAhcBXQ=="}`), statuslist.ErrMalformed},
		"lst not compressed":   {header, claims(`{"bits":1,"lst":"uaM"}`), statuslist.ErrMalformed},
		"bits as text":         {header, claims(`{"bits":"1","lst":"eNrbuRgAAhcBXQ"}`), statuslist.ErrMalformed},
		"bits as fraction":     {header, claims(`{"bits":1.0,"lst":"eNrbuRgAAhcBXQ"}`), statuslist.ErrMalformed},
		"no bits":              {header, claims(`{"lst":"eNrbuRgAAhcBXQ"}`), statuslist.ErrBits},
		"3 bits":               {header, claims(`{"bits":3,"lst":"eNrbuRgAAhcBXQ"}`), statuslist.ErrBits},
		"a bomb":               {header, claims(`{"bits":1,"lst":"` + lst(t, 5<<20) + `"}`), statuslist.ErrTooLarge},
		"of a megabyte":        {header, claims(`{"bits":1,"lst":"` + strings.Repeat("A", 1<<20) + `"}`), statuslist.ErrTooLarge},
	} {
		signed, err := s.signWith(v.header, []byte(v.claims))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := statuslist.Parse(signed, statuslist.Limits{}); !errors.Is(err, v.want) || !errors.Is(err, statuslist.ErrUnknown) {
			t.Errorf("%s: Parse = %v, want %v", name, err, v.want)
		}
	}
	for _, text := range []string{"", "a.b", "..", claims(good)} {
		if _, err := statuslist.Parse(text, statuslist.Limits{}); !errors.Is(err, statuslist.ErrMalformed) {
			t.Errorf("Parse(%q) = %v, want %v", text, err, statuslist.ErrMalformed)
		}
	}
}

func TestTTL(t *testing.T) {
	s := newSigner(t, "k1", jose.ES256)
	for text, want := range map[string]time.Duration{
		"1": time.Second, "0.5": 500 * time.Millisecond, "6e1": time.Minute, "43200.0": 12 * time.Hour, "2e11": (1 << 30) * time.Second,
	} {
		signed, err := s.Sign("statuslist+jwt", []byte(`{"sub":"x","iat":1,"ttl":`+text+`,"status_list":{"bits":1,"lst":"eNrbuRgAAhcBXQ"}}`))
		if err != nil {
			t.Fatal(err)
		}
		if token, err := statuslist.Parse(signed, statuslist.Limits{}); err != nil || token.TTL != want {
			t.Errorf("ttl %s = %v, want %v", text, err, want)
		}
	}
}
