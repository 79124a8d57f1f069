package nested_test

import (
	"context"
	"crypto"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/nested"
)

// good calls fn with every vector that is accepted, and its tree.
func good(t *testing.T, fn func(t *testing.T, v *vector, tree *nested.Tree)) {
	t.Helper()
	for name, v := range readVectors(t) {
		if v.Error != nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			tree, err := v.open(t)
			if err != nil {
				t.Fatalf("Open = %v", err)
			}
			fn(t, v, tree)
		})
	}
}

// reopen opens the token of v with other options.
func (v *vector) reopen(t testing.TB, change func(o *nested.Options)) (*nested.Tree, error) {
	t.Helper()
	o := v.options(t)
	change(&o)
	return nested.Open(t.Context(), v.Token, o)
}

// Rights never add up: no token of a tree could do more, or longer, than each of those that limit it.
func TestRightsNeverAddUp(t *testing.T) {
	good(t, func(t *testing.T, v *vector, tree *nested.Tree) {
		for _, l := range tree.Layers() {
			if l.Until.Before(tree.Until) || l.From.After(tree.From) {
				t.Errorf("valid from %v until %v, and %q from %v until %v", tree.From, tree.Until, l.Path, l.From, l.Until)
			}
			scope := ""
			switch {
			case l.Access != nil:
				scope = l.Access.Scope
			case l.Type == nested.TypeActor:
				scope = l.Statement.Scope
			default:
				continue
			}
			for word := range strings.FieldsSeq(tree.Scope) {
				if !slices.Contains(strings.Fields(scope), word) {
					t.Errorf("scope %q, and %q has %q", tree.Scope, l.Path, scope)
				}
			}
		}
	})
}

// A tree is good from its From, and before its Until, and at no other time.
func TestTimes(t *testing.T) {
	good(t, func(t *testing.T, v *vector, tree *nested.Tree) {
		for at, want := range map[time.Time]error{
			tree.From: nil, tree.Until.Add(-time.Second): nil,
			tree.From.Add(-time.Second): nested.CodeNotYetValid, tree.Until: nested.CodeExpired,
		} {
			_, err := v.reopen(t, func(o *nested.Options) { o.Now = func() time.Time { return at } })
			if !errors.Is(err, want) {
				t.Errorf("at %v: Open = %v, want %v", at, err, want)
			}
		}
		_, err := v.reopen(t, func(o *nested.Options) {
			o.Now = func() time.Time { return tree.Until.Add(time.Second) }
			o.Leeway = 2 * time.Second
		})
		if err != nil {
			t.Errorf("with leeway: Open = %v", err)
		}
	})
}

// Revoking any token of a tree makes the whole inactive and names that token; not knowing is neither.
func TestRevokingAnyToken(t *testing.T) {
	outage := errors.New("no answer")
	good(t, func(t *testing.T, v *vector, tree *nested.Tree) {
		for _, l := range tree.Layers() {
			_, err := v.reopen(t, func(o *nested.Options) {
				o.Revoked = func(_ context.Context, asked *nested.Layer) (bool, error) { return asked.JTI() == l.JTI(), nil }
			})
			wantRefused(t, "revoked", err, l.Path, nested.CodeRevoked)
			_, err = v.reopen(t, func(o *nested.Options) {
				o.Revoked = func(_ context.Context, asked *nested.Layer) (bool, error) { return false, outage }
			})
			wantUnknown(t, err, outage)
		}
	})
}

func wantUnknown(t testing.TB, err, want error) {
	t.Helper()
	var refused *nested.Error
	if !errors.Is(err, want) || errors.As(err, &refused) {
		t.Errorf("Open = %v, want %v and no refusal", err, want)
	}
}

// distrusting is a source of keys that knows nothing of one issuer, for a reason.
type distrusting struct {
	nested.KeySource
	issuer string
	speaks bool // the reason is told for its domain, not for its key
	err    error
}

func (d distrusting) Key(ctx context.Context, issuer, kid string) (crypto.PublicKey, string, error) {
	if issuer == d.issuer && !d.speaks {
		return nil, "", d.err
	}
	return d.KeySource.Key(ctx, issuer, kid)
}

func (d distrusting) Speaks(ctx context.Context, issuer, domain string) error {
	if issuer == d.issuer && d.speaks {
		return d.err
	}
	return d.KeySource.Speaks(ctx, issuer, domain)
}

// Without any one of its issuers a tree falls, and an issuer that cannot be asked is not one that says no.
func TestEveryIssuerCounts(t *testing.T) {
	outage := errors.New("no answer")
	good(t, func(t *testing.T, v *vector, tree *nested.Tree) {
		first := map[string]string{} // the path of an issuer's outermost token
		for _, l := range tree.Layers() {
			if _, seen := first[l.Issuer]; l.Kid == "" || seen {
				continue
			}
			first[l.Issuer] = l.Path
			for _, speaks := range []bool{false, true} {
				if speaks && l.Access != nil && l.Access.Service() {
					continue // it has no domain
				}
				open := func(cause error) error {
					_, err := v.reopen(t, func(o *nested.Options) { o.Keys = distrusting{o.Keys, l.Issuer, speaks, cause} })
					return err
				}
				wantRefused(t, "not trusted", open(claims.ErrIssuer), l.Path, nested.CodeIssuer)
				wantRefused(t, "not for this domain", open(claims.ErrDomain), l.Path, nested.CodeDomain)
				wantUnknown(t, open(outage), outage)
			}
		}
	})
}

// Anyone who sees a token can embed its parts in another token, and gains nothing: no inner token of a good tree is valid inside the
// token of another party, with any relation.
func TestStolenTokens(t *testing.T) {
	good(t, func(t *testing.T, v *vector, tree *nested.Tree) {
		for _, l := range tree.Layers()[1:] {
			if l.ByDigest {
				continue
			}
			token := innerToken(t, v.Token, l.Path)
			for _, rel := range nested.Relations() {
				d := access(signers[home], "thief", mallory, "im:%40mallory@example.com", botKey, verifier)
				d.set.Device = "im:ma110ry/1@example.com"
				_, err := nested.Open(t.Context(), d.sign([]change{inside(value(rel, token))}), options())
				if err == nil && !ownKey(l) {
					t.Errorf("Open = nil for %s of %q wrapped as %s", l.Type, l.Path, rel)
				}
			}
		}
	})
}

// ownKey reports whether the thief of the test holds the key of l: the bot's.
func ownKey(l *nested.Layer) bool { return l.Access != nil && l.Access.JKT == botKey.jkt() }

// Changing any byte of a token leaves nothing of it.
func TestTampering(t *testing.T) {
	good(t, func(t *testing.T, v *vector, tree *nested.Tree) {
		for i := 0; i < len(v.Token); i += 97 {
			tampered := []byte(v.Token)
			if tampered[i] ^= 1; tampered[i] == '.' {
				continue
			}
			w := *v
			w.Token = string(tampered)
			if _, err := w.open(t); err == nil {
				t.Errorf("Open = nil with byte %d changed", i)
			}
		}
	})
}

// What several tokens come to is found in another way: word by word, and minute by minute.
func TestEffectiveRights(t *testing.T) {
	words := []string{"im:handle", "im:device", "account", "feed"}
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) (scope []string, from, until int) {
			for _, word := range words {
				if rapid.Bool().Draw(t, name+" "+word) {
					scope = append(scope, word)
				}
			}
			return scope, -rapid.IntRange(0, 9).Draw(t, name+" from"), rapid.IntRange(1, 9).Draw(t, name+" until")
		}
		change := func(words []string, since, until int) change {
			return func(d *draft) { scope(strings.Join(words, " "))(d); from(since)(d); expires(until)(d) }
		}
		outer, outerFrom, outerUntil := draw("outer")
		inner, innerFrom, innerUntil := draw("inner")
		token := aliceToken(change(outer, outerFrom, outerUntil), inside(value(nested.Separate, userToken(change(inner, innerFrom, innerUntil)))))
		tree, err := nested.Open(context.Background(), token, options())
		if err != nil {
			t.Fatalf("Open = %v", err)
		}
		for _, word := range words {
			both := slices.Contains(outer, word) && slices.Contains(inner, word)
			if slices.Contains(strings.Fields(tree.Scope), word) != both {
				t.Errorf("scope %q of %q and %q", tree.Scope, outer, inner)
			}
		}
		for minute := -10; minute <= 10; minute++ {
			good := minute >= outerFrom && minute >= innerFrom && minute < outerUntil && minute < innerUntil
			if valid := !at(minute).Before(tree.From) && at(minute).Before(tree.Until); valid != good {
				t.Errorf("in minute %d valid %v, want %v", minute, valid, good)
			}
		}
	})
}
