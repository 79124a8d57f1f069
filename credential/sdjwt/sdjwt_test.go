package sdjwt_test

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/sdjwt"
	"github.com/imidentity/issuer/nested"
)

// A credential is signed with the members of its type, in their order, and its handle only in the disclosure.
func TestSign(t *testing.T) {
	token := issue(t, vc())
	const want = `{"iss":"https://im-id.example.net","vct":"tag:imidentity.github.io,2026:im-device:1",` +
		`"sub":"im:3h3aNq0mWk2o1c8vXfYJrg/072b@example.com","user":"im:3h3aNq0mWk2o1c8vXfYJrg@example.com;id-type=user",` +
		`"jti":"0hQJ4kR7cYw1aZt2","iat":1796040000,"exp":1798632000,"cnf":{"jwk":`
	if got := string(token.Payload()); !strings.HasPrefix(got, want) ||
		!strings.HasSuffix(got, `"status":{"status_list":{"idx":0,"uri":"https://im-id.example.net/status/7"}},"_sd":["`+
			token.Disclosures()[0].Digest+`"],"_sd_alg":"sha-256"}`) {
		t.Errorf("the payload is %s", got)
	}
	if strings.Contains(string(token.Payload()), "alice@") {
		t.Error("the handle is in the payload")
	}
	if token.Typ != "dc+sd-jwt" || token.Kid != "im-id-1" || token.KeyBinding != nil {
		t.Errorf("the header is %q, %q", token.Typ, token.Kid)
	}
	d := token.Disclosures()
	if len(d) != 1 || d[0].Claim != "handle" || d[0].Name != "handle" || string(d[0].Value) != quote(aliceHandle) {
		t.Errorf("the disclosures are %+v", d)
	}
	if err := token.VerifySignature("ES256", issuers[home].key.Public()); err != nil {
		t.Error(err)
	}
}

// A presentation without the handle does not tell whether there is one, neither by the number of digests nor by its length.
func TestHiddenHandleLooksLikeNone(t *testing.T) {
	with, without := vc(), vc()
	without.Handle = ""
	a := present(t, issue(t, with), phone)
	b := present(t, issue(t, without), phone)
	if len(a) != len(b) {
		t.Errorf("with a handle it has %d bytes, without %d", len(a), len(b))
	}
	var digests [2][]string
	for i, text := range []string{a, b} {
		var payload struct {
			SD []string `json:"_sd"`
		}
		if err := json.Unmarshal(parse(t, text).Payload(), &payload); err != nil {
			t.Fatal(err)
		}
		digests[i] = payload.SD
	}
	if len(digests[0]) != 1 || len(digests[1]) != 1 || len(digests[0][0]) != len(digests[1][0]) {
		t.Errorf("the digests are %q", digests)
	}
}

// Each credential has a salt and a decoy of its own, of 128 bits.
func TestSalts(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		for _, handle := range []string{aliceHandle, ""} {
			v := vc()
			v.Handle = handle
			text, err := v.Sign(issuers[home], nil)
			if err != nil {
				t.Fatal(err)
			}
			token := parse(t, text)
			one := string(token.Payload())
			for _, d := range token.Disclosures() {
				var array []string
				data := decodeBase64(t, d.Text)
				if err := json.Unmarshal(data, &array); err != nil {
					t.Fatal(err)
				}
				if one = array[0]; len(decodeBase64(t, one)) != 16 {
					t.Errorf("the salt is %q, want 128 bits", one)
				}
			}
			if seen[one] {
				t.Fatal("a salt or decoy is there twice")
			}
			seen[one] = true
		}
	}
}

// A credential that verifiers would refuse is not signed.
func TestSignRefuses(t *testing.T) {
	failure := errors.New("no randomness")
	for name, c := range map[string]struct {
		change func(v *sdjwt.VC)
		random io.Reader
		want   error
	}{
		"no issuer":             {func(v *sdjwt.VC) { v.Issuer = "" }, nil, nil},
		"no id":                 {func(v *sdjwt.VC) { v.ID = "" }, nil, nil},
		"long id":               {func(v *sdjwt.VC) { v.ID = strings.Repeat("x", 257) }, nil, nil},
		"no device":             {func(v *sdjwt.VC) { v.Device = "" }, nil, nil},
		"no user":               {func(v *sdjwt.VC) { v.User = "" }, nil, nil},
		"no key":                {func(v *sdjwt.VC) { v.Key = nil }, nil, nil},
		"private key":           {func(v *sdjwt.VC) { v.Key = phone.key }, nil, nil},
		"no beginning":          {func(v *sdjwt.VC) { v.IssuedAt = time.Time{} }, nil, nil},
		"no end":                {func(v *sdjwt.VC) { v.Expires = time.Time{} }, nil, nil},
		"ends as it begins":     {func(v *sdjwt.VC) { v.Expires = v.IssuedAt }, nil, nil},
		"more than a year":      {func(v *sdjwt.VC) { v.Expires = v.IssuedAt.Add(credential.MaxLife + time.Second) }, nil, nil},
		"device of another":     {func(v *sdjwt.VC) { v.Device = "im:ma110ry/1@example.com" }, nil, claims.ErrMismatch},
		"handle elsewhere":      {func(v *sdjwt.VC) { v.Handle = "im:%40alice@example.org" }, nil, claims.ErrMismatch},
		"handle is a user":      {func(v *sdjwt.VC) { v.Handle = v.User }, nil, claims.CodeTypeMismatch},
		"no salt":               {func(*sdjwt.VC) {}, iotest.ErrReader(failure), failure},
		"no decoy":              {func(v *sdjwt.VC) { v.Handle = "" }, iotest.ErrReader(failure), failure},
		"too little randomness": {func(*sdjwt.VC) {}, strings.NewReader("fifteen bytes.."), io.ErrUnexpectedEOF},
	} {
		v := vc()
		c.change(v)
		text, err := v.Sign(issuers[home], c.random)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: Sign = %q, %v, want %v", name, text, err, c.want)
		}
	}
	if _, err := vc().Sign(failing{failure}, nil); !errors.Is(err, failure) {
		t.Errorf("Sign = %v, want the error of the signer", err)
	}
}

// A failing signer has an error.
type failing struct{ err error }

func (f failing) Sign(string, []byte) (string, error) { return "", f.err }

// A presentation is by the holder of the key, of an issued credential, for one verifier and transaction, and of claims that can be hidden.
func TestPresentRefuses(t *testing.T) {
	token := issue(t, vc())
	b := sdjwt.Binding{Audience: room, Nonce: nonce}
	_, err := token.Present(laptop.key, b, now)
	wantRefused(t, err, "cnf", credential.CodeKey)
	_, err = parse(t, present(t, token, phone)).Present(phone.key, b, now)
	wantRefused(t, err, "key binding", credential.CodeBinding)
	_, err = token.Present(phone.key, b, now, "handle", "name")
	wantRefused(t, err, "name", credential.CodeDisclosure)
	p := presented()
	p.bound = false
	p.payload.drop("cnf")
	_, err = parse(t, p.text()).Present(phone.key, b, now)
	wantRefused(t, err, "cnf", credential.CodeClaim)
	refused := (*credential.Error)(nil)
	for _, b := range []sdjwt.Binding{
		{}, {Audience: room}, {Nonce: nonce}, {Audience: strings.Repeat("a", 4096), Nonce: nonce}, {Audience: room, Nonce: strings.Repeat("n", 4096)},
		{Audience: "\xff", Nonce: nonce}, {Audience: room, Nonce: "\xff"},
	} {
		if text, err := token.Present(phone.key, b, now); err == nil || errors.As(err, &refused) {
			t.Errorf("Present for %+v = %q, %v, want an error about the binding", b, text, err)
		}
	}
	failure := errors.New("the key is locked")
	if _, err := token.Present(locked{phone.key.Public(), failure}, b, now); !errors.Is(err, failure) {
		t.Errorf("Present = %v, want the error of the key", err)
	}
}

// A locked key cannot sign.
type locked struct {
	public crypto.PublicKey
	err    error
}

func (l locked) Public() crypto.PublicKey { return l.public }

func (l locked) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, l.err }

// A claim is disclosed with all that is inside it, and without anything of other claims.
func TestDisclose(t *testing.T) {
	p := presented()
	p.bound = false
	street := disclosure(`["c3RyZWV0","street","Main St"]`)
	p.disclosures = append(p.disclosures, street)
	p.disclose(`["YWRkcmVzcw","address",{"_sd":["` + digest(street) + `"],"country":"DE"}]`)
	german, french := disclosure(`["Z2VybWFu","de"]`), disclosure(`["ZnJlbmNo",["fr","CA"]]`)
	p.disclosures = append(p.disclosures, german, french)
	p.payload.add("languages", `["en",{"...":"`+digest(german)+`"},{"...":"`+digest(french)+`"}]`)
	token := parse(t, p.text())
	for _, c := range []struct {
		ask  []string
		want map[string]string
	}{
		{nil, map[string]string{"handle": "", "address": "", "languages": `["en"]`}},
		{[]string{"handle"}, map[string]string{"handle": quote(aliceHandle), "address": "", "languages": `["en"]`}},
		{[]string{"address"}, map[string]string{"handle": "", "address": `{"country":"DE","street":"Main St"}`, "languages": `["en"]`}},
		{[]string{"languages", "handle", "handle"}, map[string]string{
			"handle": quote(aliceHandle), "address": "", "languages": `["en","de",["fr","CA"]]`,
		}},
	} {
		text, err := token.Disclose(c.ask...)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]json.RawMessage
		if err := json.Unmarshal(parse(t, text).Claims(), &got); err != nil {
			t.Fatal(err)
		}
		for name, want := range c.want {
			if string(got[name]) != want {
				t.Errorf("with %q, %s is %s, want %s", c.ask, name, got[name], want)
			}
		}
	}
	if _, err := token.Disclose("iss"); !errors.Is(err, credential.CodeDisclosure) {
		t.Errorf("Disclose of a clear claim = %v", err)
	}
}

// Options that would accept a key binding for anybody, or none by an oversight, are an error and no refusal.
func TestOptions(t *testing.T) {
	text := present(t, issue(t, vc()), phone, "handle")
	refused := (*credential.Error)(nil)
	for name, change := range map[string]func(o *sdjwt.Options){
		"no issuers":     func(o *sdjwt.Options) { o.Issuers = nil },
		"no binding":     func(o *sdjwt.Options) { o.Binding = nil },
		"both":           func(o *sdjwt.Options) { o.WithoutBinding = true },
		"no audience":    func(o *sdjwt.Options) { o.Binding.Audience = "" },
		"no nonce":       func(o *sdjwt.Options) { o.Binding.Nonce = "" },
		"a negative age": func(o *sdjwt.Options) { o.Binding.MaxAge = -1 },
	} {
		o := options()
		change(&o)
		if c, err := sdjwt.Verify(t.Context(), text, o); err == nil || errors.As(err, &refused) {
			t.Errorf("%s: Verify = %+v, %v, want an error about the options", name, c, err)
		}
	}
}

// If the keys cannot be known now, or the domains, that is no refusal.
func TestUnknown(t *testing.T) {
	outage := errors.New("the network is down")
	text := present(t, issue(t, vc()), phone, "handle")
	refused := (*credential.Error)(nil)
	for _, source := range []unreachable{{trusted, outage, nil}, {trusted, nil, outage}} {
		o := options()
		o.Issuers = source
		if c, err := sdjwt.Verify(t.Context(), text, o); !errors.Is(err, outage) || errors.As(err, &refused) || credential.Stands(err) || c.ID != "" {
			t.Errorf("Verify = %+v, %v, want that it cannot be known", c, err)
		}
	}
}

// An unreachable source of keys has errors.
type unreachable struct {
	directory
	key, speaks error
}

func (u unreachable) Key(ctx context.Context, issuer, kid string) (crypto.PublicKey, string, error) {
	if u.key != nil {
		return nil, "", u.key
	}
	return u.directory.Key(ctx, issuer, kid)
}

func (u unreachable) Speaks(ctx context.Context, issuer, domain string) error {
	if u.speaks != nil {
		return u.speaks
	}
	return u.directory.Speaks(ctx, issuer, domain)
}

// The caller may change the values that a token returns; the token stays as it is.
func TestTokenIsImmutable(t *testing.T) {
	token := issue(t, vc())
	before := token.String()
	clear(token.Payload())
	clear(token.Claims())
	token.Disclosures()[0] = sdjwt.Disclosure{}
	again := parse(t, before)
	if !bytes.Equal(token.Payload(), again.Payload()) || !bytes.Equal(token.Claims(), again.Claims()) ||
		!slices.EqualFunc(token.Disclosures(), again.Disclosures(), func(a, b sdjwt.Disclosure) bool { return a.Text == b.Text }) {
		t.Error("a token was changed from outside")
	}
}

// A presentation is bound to its verifier: shown to another one, or a second time, it is refused.
func TestReplay(t *testing.T) {
	text := present(t, issue(t, vc()), phone)
	for _, c := range []struct {
		binding sdjwt.Binding
		code    credential.Code
	}{
		{sdjwt.Binding{Audience: "mimi://mimi.example.com/r/other", Nonce: nonce}, credential.CodeAudience},
		{sdjwt.Binding{Audience: room, Nonce: "the next one"}, credential.CodeNonce},
	} {
		o := options()
		o.Binding = &c.binding
		_, err := sdjwt.Verify(t.Context(), text, o)
		wantRefused(t, err, "key binding", c.code)
	}
}

// No error contains identifiers, ids or salts.
func TestErrorsTellNothing(t *testing.T) {
	all := readVectors(t)
	for _, v := range all.Vectors {
		_, err := sdjwt.Verify(t.Context(), v.Text, v.Options.options(all.Issuers))
		if err == nil {
			continue
		}
		for _, secret := range []string{"alice", "bob@", "3h3aNq0mWk2o1c8vXfYJrg", "0hQJ4kR7cYw1aZt2", "Rk5GNHg4bTRzUTJ2aEg0bA"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error has %q: %v", v.Name, secret, err)
			}
		}
	}
}

// Neither a credential nor a key binding passes as a token.
func TestNotAToken(t *testing.T) {
	text := present(t, issue(t, vc()), phone, "handle")
	parts := strings.Split(text, "~")
	for _, token := range []string{text, parts[0], parts[len(parts)-1]} {
		tree, err := nested.Open(t.Context(), token, nested.Options{
			Keys: trusted, Audience: []string{room}, Now: func() time.Time { return now }, Development: true,
		})
		refused := (*nested.Error)(nil)
		if !errors.As(err, &refused) || refused.Code != nested.CodeType && refused.Code != nested.CodeMalformed {
			t.Errorf("Open = %v, %v, want a refusal of the type", tree, err)
		}
	}
}

// Reading a text takes little memory, also one that is nested, long or full of digests.
func TestBombs(t *testing.T) {
	var members, digests []string
	for i := range 1000 {
		members = append(members, quote(strconv.Itoa(i))+":1")
	}
	for i := range 200 {
		digests = append(digests, quote(digest(strconv.Itoa(i))))
	}
	nested := func(open, inner, end string, n int) string {
		return strings.Repeat(open, n) + inner + strings.Repeat(end, n)
	}
	hidden := `{"\u005fsd":[` + strings.Join(digests, ",") + `]}`
	// A chain of disclosures, each inside the one before.
	chain := []string{disclosure(`["s","a",1]`)}
	for range sdjwt.MaxDisclosures - 1 {
		chain = append(chain, disclosure(`["s","a",{"_sd":["`+digest(chain[len(chain)-1])+`"]}]`))
	}
	for name, c := range map[string]struct {
		payload     string
		disclosures []string
	}{
		"members":            {"{" + strings.Join(members, ",") + "}", nil},
		"digests":            {`{"_sd":[` + strings.Join(digests, ",") + `]}`, nil},
		"objects in objects": {nested(`{"\u0061":`, "{"+strings.Join(members, ",")+"}", "}", 31), nil},
		"arrays in arrays":   {`{"a":` + nested(`[`, hidden, "]", 28) + `}`, nil},
		"disclosures":        {`{"_sd":["` + digest(chain[len(chain)-1]) + `"]}`, chain},
	} {
		text := disclosure(`{"alg":"ES256"}`) + "." + disclosure(c.payload) + ".AAAA~" + strings.Join(append(c.disclosures, ""), "~")
		if len(text) > sdjwt.MaxSize {
			t.Fatalf("%s: the text has %d bytes", name, len(text))
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := sdjwt.Parse(text)
		runtime.ReadMemStats(&after)
		if refused := (*credential.Error)(nil); err != nil && !errors.As(err, &refused) {
			t.Errorf("%s: Parse = %v", name, err)
		}
		const most = 8 << 20
		if used := after.TotalAlloc - before.TotalAlloc; used > most {
			t.Errorf("%s: Parse of %d bytes allocates %d bytes, want at most %d", name, len(text), used, most)
		} else {
			t.Logf("%s: %d bytes, %d allocated: %v", name, len(text), used, err)
		}
	}
}

// Each character counts: a text with another one in its place, or without it, is refused, with a key binding and without.
func TestTampering(t *testing.T) {
	bare := options()
	bare.Binding, bare.WithoutBinding = nil, true
	for name, c := range map[string]struct {
		text string
		o    sdjwt.Options
	}{
		"presentation": {present(t, issue(t, vc()), phone, "handle"), options()},
		"credential":   {issue(t, vc()).String(), bare},
	} {
		if _, err := sdjwt.Verify(t.Context(), c.text, c.o); err != nil {
			t.Fatalf("%s: Verify = %v", name, err)
		}
		for i := range c.text {
			other := "A"
			if c.text[i] == 'A' {
				other = "B"
			}
			for _, changed := range []string{c.text[:i] + other + c.text[i+1:], c.text[:i] + c.text[i+1:], c.text[:i] + "~" + c.text[i:]} {
				if got, err := sdjwt.Verify(t.Context(), changed, c.o); changed != c.text && (err == nil || got.ID != "") {
					t.Fatalf("%s: changed at %d: Verify = %+v, %v", name, i, got, err)
				}
			}
		}
	}
}
