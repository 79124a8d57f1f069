package claims_test

import (
	"testing"

	"github.com/imidentity/issuer/claims"
)

// read returns the identifier of a URI in any spelling.
func read(t *testing.T, uri string) claims.ID {
	t.Helper()
	id, err := claims.ParseLenient(uri)
	if err != nil {
		t.Fatalf("ParseLenient(%q) = %v", uri, err)
	}
	return id
}

// A registry of one domain: pairs of URIs that belong together, and changes that were recorded.
type registry map[[2]string]bool

func (r registry) SameAccount(a, b claims.ID) bool { return r[[2]string{a.String(), b.String()}] }
func (r registry) Renamed(_, old, new claims.ID) bool {
	return r[[2]string{old.String(), new.String()}]
}
func (r registry) Rekeyed(_ claims.ID, o, n string) bool { return r[[2]string{o, n}] }

func TestSame(t *testing.T) {
	links := registry{
		{"im:%40alice@example.com", "im:u1@example.com;id-type=user"}:     true,
		{"im:%40alice@example.com", "im:%40alice@example.net"}:            true,
		{"im:xmpp=alice/phone@example.com", "im:xmpp=alice@example.com"}:  true,
		{"im:%40alice@local.invalid", "im:u1@local.invalid;id-type=user"}: true,
	}
	for _, c := range []struct {
		a, b                   string
		equal, account, client bool
	}{
		{"im:%40alice@example.com", "IM:@Alice@Example.com", true, true, false},
		{"im:%40alice@example.com", "im:alice@example.com", false, true, false}, // another system, the same mimi: form
		{"im:%40alice@example.com", "im:xmpp=alice@example.com", false, true, false},
		{"im:%40alice@example.com", "mimi://example.com/u/alice", false, true, false},
		{"im:%40alice@example.com", "mimi://example.com/p/alice", false, false, false},
		{"im:%40alice@example.com", "im:u1@example.com;id-type=user", false, true, false}, // linked
		{"im:u1@example.com;id-type=user", "im:U1@example.com;id-type=user", false, false, false},
		{"im:%40alice@example.com", "im:%40alice@example.net", false, false, false}, // linked, but never across domains
		{"im:%40alice@local.invalid", "im:%40alice@local.invalid", true, false, false},
		{"im:%40alice@local.invalid", "im:u1@local.invalid;id-type=user", false, false, false},
		{"im:wxyz=#a@example.com", "im:wxyz=#a@example.com", true, false, false}, // a room is no account
		{"im:example.com", "im:example.com", true, false, false},
		{"im:u1/d1@example.com", "im:wxyz=u1/d1@example.com", false, true, true},
		{"im:u1/d1@example.com", "mimi://example.com/d/u1/d1", false, true, true},
		{"im:u1/d1@example.com", "mimi://example.com/d/d1", false, false, false},
		{"im:u1/d1@example.com", "im:u1/d2@example.com", false, false, false},
		{"im:u1/d1@example.com", "im:u2/d1@example.com", false, false, false},
		{"im:u1/d1@example.com", "im:u1/d1@example.net", false, false, false},
		{"im:xmpp=alice/phone@example.com", "im:xmpp=Alice/phone@example.com", true, true, true},
		{"im:xmpp=alice/phone@example.com", "im:xmpp=alice/Phone@example.com", false, false, false},
		{"im:xmpp=alice/phone@example.com", "im:xmpp=alice@example.com", false, true, false}, // linked
		{"im:xmpp=fußball@example.com", "im:xmpp=fussball@example.com", false, false, false},
		{"im:wire=0fd3e0dc-a2ff-4965-8873-509f0af0a75c/072b@example.com", "im:wire=0FD3E0DC-a2ff-4965-8873-509f0af0a75c:72B@example.com", true,
			true, true},
		{"sip:alice@192.0.2.1", "sip:alice@192.0.2.1", true, false, false}, // without a domain
		{"sip:alice@[2001:DB8:0::1]", "sip:alice@[2001:db8::1]", true, false, false},
		{"sip:Alice@example.com", "sip:alice@example.com", false, false, false},
	} {
		a, b := read(t, c.a), read(t, c.b)
		if got := a.Equal(b); got != c.equal {
			t.Errorf("Equal(%s, %s) = %v, want %v", c.a, c.b, got, c.equal)
		}
		if got := claims.SameAccount(a, b, links); got != c.account {
			t.Errorf("SameAccount(%s, %s) = %v, want %v", c.a, c.b, got, c.account)
		}
		if got := claims.SameClient(a, b); got != c.client || claims.SameClient(b, a) != got {
			t.Errorf("SameClient(%s, %s) = %v, want %v", c.a, c.b, got, c.client)
		}
	}
	if a, b := read(t, "im:%40alice@example.com"), read(t, "im:u1@example.com;id-type=user"); claims.SameAccount(a, b, nil) {
		t.Errorf("SameAccount(%v, %v) without registry = true", a, b)
	}
}

func TestSuccessor(t *testing.T) {
	client := func(domain, handle, user, device, jkt string) claims.Client {
		return claims.Client{
			Identity: claims.Identity{
				Handle: read(t, "im:%40"+handle+"@"+domain), User: read(t, "im:"+user+"@"+domain+";id-type=user"),
				Device: read(t, "im:"+user+"/"+device+"@"+domain),
			},
			JKT: jkt,
		}
	}
	old := client("example.com", "alice", "u1", "d1", "k1")
	history := registry{
		{"im:%40alice@example.com", "im:%40ally@example.com"}:  true,
		{"im:%40alice@example.com", "im:%40alice@example.net"}: true,
		{"k1", "k2"}: true,
	}
	noUser := old
	noUser.User = claims.ID{}
	for name, c := range map[string]struct {
		next    claims.Client
		history claims.History
		want    bool
	}{
		"itself":                {old, nil, true},
		"recorded rename":       {client("example.com", "ally", "u1", "d1", "k1"), history, true},
		"rename back":           {client("example.com", "alix", "u1", "d1", "k1"), history, false},
		"unrecorded rename":     {client("example.com", "ally", "u1", "d1", "k1"), nil, false},
		"recorded re-key":       {client("example.com", "alice", "u1", "d1", "k2"), history, true},
		"unrecorded re-key":     {client("example.com", "alice", "u1", "d1", "k3"), history, false},
		"re-key, no history":    {client("example.com", "alice", "u1", "d1", "k2"), nil, false},
		"both":                  {client("example.com", "ally", "u1", "d1", "k2"), history, true},
		"another device":        {client("example.com", "alice", "u1", "d2", "k1"), history, false},
		"another user":          {client("example.com", "alice", "u2", "d1", "k1"), history, false},
		"another domain":        {client("example.net", "alice", "u1", "d1", "k1"), history, false},
		"user that is not told": {noUser, history, false},
	} {
		if got := claims.Successor(old, c.next, c.history); got != c.want {
			t.Errorf("%s: Successor = %v, want %v", name, got, c.want)
		}
	}
}

func TestCollisionKey(t *testing.T) {
	key := func(handle string) string {
		id, err := claims.Handle("example.com", handle)
		if err != nil {
			t.Fatalf("Handle(%q) = %v", handle, err)
		}
		return claims.CollisionKey(id)
	}
	for _, same := range [][]string{
		{"alice", "Alice", "a.lice", "a-l_ice", "ａlice", "аlісе", "αlісe"},
		{"paypal", "раураl", "pay.pal", "paypa1"},
		{"foo", "f00", "fоо", "fοο", "f००"},
		{"straße", "strasse", "stra.sse"},
		{"modern", "modem"},
		{"josé", "jose\u0301", "jоsé"},
		{"wave", "vvave"},
		{"istanbul", "ıstanbul"},
	} {
		for _, other := range same[1:] {
			if key(other) != key(same[0]) {
				t.Errorf("CollisionKey(%q) = %q, CollisionKey(%q) = %q, want the same", same[0], key(same[0]), other, key(other))
			}
		}
	}
	for _, pair := range [][2]string{{"alice", "alicia"}, {"jose", "josé"}, {"ali", "all"}, {"日本", "日木"}, {"-", "_"}, {"мир", "mup"}} {
		if key(pair[0]) == key(pair[1]) {
			t.Errorf("CollisionKey = %q for %q and %q", key(pair[0]), pair[0], pair[1])
		}
	}
	// A user part of SIP is case-sensitive, and two that differ in case are refused all the same.
	if a, b := read(t, "sip:Alice@example.com"), read(t, "sip:alice@example.com"); claims.CollisionKey(a) != claims.CollisionKey(b) {
		t.Errorf("CollisionKey(%v) and CollisionKey(%v) differ", a, b)
	}
}
