package nested_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
)

// bombs are tokens that would cost much if they were looked into.
func bombs() map[string]testCase {
	// Each of a thousand tokens names the next by digest; all came along.
	var chain []string
	next := rename(jti("last"))
	for i := range 1000 {
		chain = append(chain, next)
		next = rename(jti(fmt.Sprint("link ", i)),
			raw(element(jwtType, `"rel":"renamed_from"`, digestOf("sha-256", hexSum(next)), fmt.Sprintf(`"jti":"link %d"`, i-1))))
	}
	short := chain[len(chain)-7:]
	// A thousand entries that hold next to nothing.
	var wide []string
	for range 1000 {
		wide = append(wide, `{`+jwtType+`,"rel":"renamed_from","token":"a.a.a"}`)
	}
	outermost := takes(nested.TypeRename)
	return map[string]testCase{
		"thousand layers by digest":  {token: next, verifier: func(o *nested.Options) { outermost(o); o.Along = chain }},
		"eight layers by digest":     {token: next, verifier: func(o *nested.Options) { outermost(o); o.Along = short }},
		"layers by value":            {token: bomb(6), verifier: outermost},
		"thirty layers by value":     {token: bomb(30), verifier: outermost},
		"thousand entries":           {token: aliceToken(raw("[" + strings.Join(wide, ",") + "]"))},
		"entries of valid tokens":    {token: tooMany()},
		"a header of eight KiB":      {token: strings.Repeat("A", 8000) + ".e30.AA"},
		"arrays in arrays":           {token: aliceToken(raw(strings.Repeat("[", 2000) + strings.Repeat("]", 2000)))},
		"a payload of repeated name": {token: aliceToken(edit(`{"iss"`, `{`+strings.Repeat(`"a":1,`, 500)+`"iss"`))},
	}
}

// None of them has a signature checked.
func TestBombs(t *testing.T) {
	for name, c := range bombs() {
		o := options()
		if c.verifier != nil {
			c.verifier(&o)
		}
		n, err := nested.OpenCounting(t.Context(), c.token, o)
		if err == nil || n != 0 {
			t.Errorf("%s: Open = %v after %d signatures, want a refusal after none", name, err, n)
		}
		allocated := allocates(func() { _, _ = nested.Open(t.Context(), c.token, o) })
		if allocated > maxAllocated {
			t.Errorf("%s: %d bytes allocated, want at most %d", name, allocated, maxAllocated)
		}
	}
}

// allocates returns how many bytes f allocates.
func allocates(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// maxAllocated bounds what opening any token allocates: a few times the most that is read.
const maxAllocated = 16 * nested.MaxTotal

// Of every vector no more signatures are checked than it has tokens, and of a good one each once.
func TestSignaturesAreBounded(t *testing.T) {
	for name, v := range readVectors(t) {
		n, err := nested.OpenCounting(t.Context(), v.Token, v.options(t))
		if n > nested.MaxTokens {
			t.Errorf("%s: %d signatures checked, want at most %d", name, n, nested.MaxTokens)
		}
		if err != nil {
			continue
		}
		tree, err := v.open(t)
		if err != nil || n != len(tree.Layers()) {
			t.Errorf("%s: %d signatures checked of %d tokens: %v", name, n, len(tree.Layers()), err)
		}
	}
}

// innerToken returns the token at a path.
func innerToken(t testing.TB, token, path string) string {
	t.Helper()
	for step := range strings.SplitSeq(path, ".") {
		jws, err := jose.ParseCompact(token, jose.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		var payload struct {
			NJWT   string
			Tokens []struct{ Token string }
		}
		if err := json.Unmarshal(jws.Payload, &payload); err != nil {
			t.Fatal(err)
		}
		var i int
		if step == "njwt" {
			token = payload.NJWT
		} else if _, err := fmt.Sscanf(step, "tokens[%d]", &i); err != nil {
			t.Fatal(err)
		} else {
			token = payload.Tokens[i].Token
		}
	}
	return token
}
