package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/nested"
)

// shownAt is when the examples of docs/nested-verifiers.md happen.
var shownAt = time.Date(2026, 5, 1, 13, 55, 0, 0, time.UTC)

// A shown is a token as the page shows it.
type shown struct {
	Typ    string
	Claims struct {
		Iss, Sub, Handle, Device, JTI, Scope string
		Exp                                  int64
		CNF                                  struct{ JKT string }
		Limits                               object
		SameAs                               string `json:"same_as"`
		OldHandle                            string `json:"old_handle"`
		Tokens                               []struct {
			Type, Rel string
			Token     json.RawMessage
		}
	}
	raw json.RawMessage // the claims
}

func read(t *testing.T, text json.RawMessage) shown {
	t.Helper()
	var v shown
	decode(t, text, &v)
	var claims struct{ Claims json.RawMessage }
	decode(t, text, &claims)
	v.raw = claims.Claims
	return v
}

// A staging is the world in which the examples happen: who plays whom.
type staging struct {
	*world
	login  *device // on which Alice logged in
	phone  *device // that the outer token is bound to
	wallet *device // with a key of her own
	held   tokens
}

// TestDocsAtServer makes the example of each relation that docs/nested-verifiers.md shows: peers sign theirs, the issuer its own, Alice
// asks for a token with them inside, and introspection tells what the page shows of the whole and of each layer.
func TestDocsAtServer(t *testing.T) {
	text, err := os.ReadFile("../../docs/nested-verifiers.md")
	if err != nil {
		t.Fatal(err)
	}
	w := startWorld(t, map[string]string{"embed": ", acts_for"})
	st := &staging{world: w, wallet: newDevice(t)}
	// Alice was Alex once.
	w.provider.set(tampering{idToken: func(_, claims object) { claims["preferred_username"] = "alex" }})
	w.account(t, newDevice(t), "alice")
	w.provider.set(tampering{})
	wantStatus(t, w.operate(t, http.MethodPut, "/admin/users/@alex/handle", url.Values{"domain": {"example.com"}, "handle": {"alice"}}), http.StatusOK)

	example := regexp.MustCompile("(?s)^### `([a-z_]+)`\n.*?\n```json\n(.*?)\n```\n\n```text\n(.*?)\n```\n")
	var seen []nested.Relation
	for _, section := range strings.SplitAfter(string(text), "\n\n### ")[1:] {
		m := example.FindStringSubmatch("### " + section)
		if m == nil {
			continue // package nested holds that none is missing
		}
		rel := nested.Relation(m[1])
		seen = append(seen, rel)
		t.Run(m[1], func(t *testing.T) { st.play(t, rel, m[2], m[3]) })
	}
	if !slices.Equal(seen, nested.Relations()) {
		t.Errorf("examples of %v, want %v", seen, nested.Relations())
	}
}

// play makes one example.
func (st *staging) play(t *testing.T, rel nested.Relation, example, explained string) {
	st.login = newDevice(t)
	if st.phone = st.login; rel == nested.Cascade { // the device comes to be by the example
		st.phone = newDevice(t)
	}
	scope := regexp.MustCompile(`"scope": "([^"]*)"`).FindStringSubmatch(example)
	form := url.Values{"client_id": {accounts.id}, "scope": {"im:handle im:device account"}, "resource": {"https://rooms.example.com", st.issuer}}
	st.held = wantTokens(t, st.token(t, accounts, st.login, codeForm(st.code(t, "alice", form), nil)))
	v := read(t, []byte(st.cast(t, rel, example)))

	e := embedding{c: accounts, d: st.phone, form: url.Values{"resource": {"https://rooms.example.com"}}}
	list := v.Claims.Tokens
	if v.Typ != nested.TypeAccessToken { // what a key of hers signed offline is countersigned
		e.inside = []inside{{rel: "attested_by", token: st.signed(t, v)}}
	} else {
		e.subject = st.held.access
		e.form.Set("scope", scope[1])
		for _, entry := range list {
			e.inside = append(e.inside, inside{rel: entry.Rel, token: st.signed(t, read(t, entry.Token)), typ: entry.Type})
		}
	}
	for _, by := range []how{asValue, asDigest, asJSON} {
		n := st.nested(t, e, by)
		set := claimsOf(t, n.token)
		if set.Subject != v.Claims.Sub || set.JKT != v.Claims.CNF.JKT || v.Claims.Handle != "" && set.Handle != v.Claims.Handle ||
			v.Claims.Device != "" && set.Device != v.Claims.Device {
			t.Errorf("%s: claims = %+v, want those shown: %s", by, set, v.raw)
		}
		a := st.about(t, peer, n)
		if a.json["active"] != true {
			t.Fatalf("%s: introspection = %v, want active", by, a)
		}
		if said := regexp.MustCompile(`(?m)^Scope: (.*)\.$`).FindStringSubmatch(explained); said != nil && a.text("scope") != strings.ReplaceAll(said[1], ",", "") {
			t.Errorf("%s: scope = %q, want %q", by, a.text("scope"), said[1])
		}
		want := st.layersOf(t, "", v)
		if v.Typ != nested.TypeAccessToken {
			want = append([]string{"tokens[0] attested_by " + v.Typ + " " + v.Claims.Iss + " " + v.Claims.Sub + " " + v.Claims.Handle}, st.layersOf(t, "tokens[0].", v)...)
		}
		var got []string
		all, _ := a.json["tokens"].([]any)
		for _, l := range all {
			l, _ := l.(object)
			handle, _ := l["handle"].(string)
			got = append(got, fmt.Sprintf("%v %v %v %v %v %s", l["path"], l["rel"], l["typ"], l["iss"], l["sub"], handle))
			if l["exp"].(float64) < a.json["exp"].(float64) {
				t.Errorf("%s: the whole outlives %v", by, l)
			}
		}
		// A handle that the issuer adds to a half of a link is no part of the example.
		for i := range min(len(got), len(want)) {
			if strings.HasSuffix(want[i], " ") && strings.HasPrefix(got[i], want[i]) {
				got[i] = want[i]
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: layers\n%s\nwant\n%s", by, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// layersOf are the layers inside a token that is shown.
func (st *staging) layersOf(t *testing.T, path string, v shown) (list []string) {
	for i, entry := range v.Claims.Tokens {
		in := read(t, entry.Token)
		at := path + "tokens[" + strconv.Itoa(i) + "]"
		list = append(list, fmt.Sprintf("%s %s %s %s %s %s", at, entry.Rel, in.Typ, in.Claims.Iss, in.Claims.Sub, in.Claims.Handle))
		list = append(list, st.layersOf(t, at+".", in)...)
	}
	return list
}

// cast puts the names, keys and times of the world in the place of those on the page. The issuer plays that of the outer
// token, and Alice whom that is about.
func (st *staging) cast(t *testing.T, rel nested.Relation, example string) string {
	const alice, bot = "3h3aNq0mWk2o1c8vXfYJrg", "im:b07@bridge.example;id-type=user"
	names := []string{
		"https://id.school.example", st.school.issuer, "https://issuer.old.example", st.old.issuer, "https://vouch.example", st.vouch.issuer,
		"im:verifier.example", "https://rooms.example.com", `"client_id": "app"`, `"client_id": "` + accounts.id + `"`,
		"c40AXLMy1gwL9TDMYRAdLhi6zfDdg8tFpDxfEMgxHVk", st.phone.JKT(), "9NdfVbwKjsWh05Zh2vhVYWuOpgDb-_Va62NtIlL1SJ0", st.phone.JKT(),
		"oa8mL466PJ134ApIlTYJpmT1xe2nfT42IfJ_q4G1WGE", st.wallet.JKT(),
	}
	switch rel {
	case nested.ActsFor: // the bot's issuer is this one: Alice is a user of a peer's
		names = append(names, "https://id.bridge.example", st.issuer, bot, st.held.set.Subject, "im:%40bot@bridge.example", st.held.set.Handle,
			"https://issuer.example.com", st.school.issuer, "@example.com", "@school.example")
	case nested.Cascade:
		names = append(names, "https://issuer.example.com", st.issuer, alice, claimsUser(t, st.held))
	default:
		names = append(names, "https://issuer.example.com", st.issuer, "im:"+alice+"/072b@example.com", st.held.set.Device, alice, claimsUser(t, st.held))
	}
	shift := st.clock.now().Unix() - shownAt.Unix()
	times := regexp.MustCompile(`"(iat|exp|nbf|auth_time)": (\d+)`)
	return times.ReplaceAllStringFunc(strings.NewReplacer(names...).Replace(example), func(claim string) string {
		m := times.FindStringSubmatch(claim)
		at, err := strconv.ParseInt(m[2], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`"%s": %d`, m[1], at+shift)
	})
}

// claimsUser is the user's id.
func claimsUser(t *testing.T, held tokens) string { return deviceOf(t, held).Local() }

// signed makes a token that is shown, with what it has inside: by the peer that signs it, by Alice's own key, or by whatever
// the issuer is asked so that it signs it.
func (st *staging) signed(t *testing.T, v shown) string {
	t.Helper()
	for _, peer := range []*abroad{st.school, st.old, st.vouch} {
		if v.Claims.Iss == peer.issuer {
			return peer.payload(t, v.Typ, string(v.raw))
		}
	}
	if v.Claims.Iss == st.issuer {
		return st.issued(t, v)
	}
	// By her own key, under what the issuer has signed.
	text := string(v.raw)
	for _, entry := range v.Claims.Tokens {
		inner := st.signed(t, read(t, entry.Token))
		text = strings.Replace(text, string(entry.Token), `"`+inner+`"`, 1)
	}
	now := strconv.FormatInt(st.clock.now().Unix(), 10) // no statement is older than its delegation
	text = regexp.MustCompile(`"iat": \d+`).ReplaceAllString(text, `"iat": `+now)
	sign, err := nested.UserKey(st.wallet.key)
	if err != nil {
		t.Fatal(err)
	}
	token, err := sign(v.Typ, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// issued has the issuer make what is shown as its own, and holds it to that.
func (st *staging) issued(t *testing.T, v shown) (token string) {
	t.Helper()
	life := v.Claims.Exp - st.clock.now().Unix()
	switch v.Typ {
	case nested.TypeAccessToken: // of the wallet's session, which knows no device
		form := url.Values{"client_id": {accounts.id}, "scope": {v.Claims.Scope}}
		return wantTokens(t, st.token(t, accounts, st.wallet, codeForm(st.code(t, "alice", form), nil))).access
	case nested.TypeDelegation:
		body := object{"jkt": v.Claims.CNF.JKT, "expires_in": life}
		for name, limit := range v.Claims.Limits {
			body[name] = limit
		}
		_, token = st.made(t, st.login, st.held, "delegations", body)
	case nested.TypeLink:
		_, token = st.made(t, st.login, st.held, "links", object{"same_as": v.Claims.SameAs, "expires_in": life})
	case nested.TypeRename:
		_, token = st.attested(t, object{"typ": v.Typ, "sub": v.Claims.Sub, "old_handle": v.Claims.OldHandle, "expires_in": life})
	default:
		t.Fatalf("the issuer makes no %s", v.Typ)
	}
	var want, got object
	decode(t, v.raw, &want)
	decode(t, payloadOf(t, token), &got)
	for name, value := range want {
		switch name {
		case "jti", "iat", "exp", "aud": // the issuer's own
		default:
			if string(encode(got[name])) != string(encode(value)) {
				t.Errorf("%s of %s = %s, want %s", name, v.Typ, encode(got[name]), encode(value))
			}
		}
	}
	return token
}
