package trust_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/trust"
)

func TestParseDocument(t *testing.T) {
	doc, err := trust.ParseDocument([]byte(`{"domain":"BÜCHER.example","issuers":["https://id.example/im","https://id.example:8443"],"x":1}`), true)
	want := trust.Document{Domain: "xn--bcher-kva.example", Issuers: []string{"https://id.example/im", "https://id.example:8443"}}
	if err != nil || !reflect.DeepEqual(doc, want) {
		t.Errorf("ParseDocument = %+v, %v, want %+v", doc, err, want)
	}
	issuers := func(list ...string) string {
		text, _ := json.Marshal(list)
		return `{"domain":"a.example","issuers":` + string(text) + `}`
	}
	var nine []string
	for n := range trust.MaxNamedIssuers + 1 {
		nine = append(nine, fmt.Sprintf("https://id%d.example", n))
	}
	if _, err := trust.ParseDocument([]byte(issuers(nine[1:]...)), true); err != nil {
		t.Errorf("ParseDocument with %d issuers = %v", trust.MaxNamedIssuers, err)
	}
	for name, text := range map[string]string{
		"empty":              ``,
		"no object":          `"a.example"`,
		"no domain":          `{"issuers":[]}`,
		"domain empty":       `{"domain":"","issuers":[]}`,
		"domain an address":  `{"domain":"127.0.0.1","issuers":[]}`,
		"domain a number":    `{"domain":7,"issuers":[]}`,
		"no issuers":         `{"domain":"a.example"}`,
		"issuers null":       `{"domain":"a.example","issuers":null}`,
		"an issuer a number": `{"domain":"a.example","issuers":[7]}`,
		"domain twice":       `{"domain":"a.example","domain":"a.example","issuers":[]}`,
		"Domain":             `{"domain":"a.example","Domain":"b.example","issuers":[]}`,
		"text behind":        issuers() + `{}`,
		"too many":           issuers(nine...),
		"twice":              issuers("https://id.example", "https://id.example"),
		"http":               strings.Replace(issuers("ftp://id.example"), "x", "x", 1),
		"user":               issuers("https://me@id.example"),
		"query":              issuers("https://id.example?a"),
		"fragment":           issuers("https://id.example#a"),
		"no host":            issuers("https:///im"),
		"relative":           issuers("/im"),
		"upper case":         issuers("https://ID.example"),
		"scheme upper case":  issuers("httpS://id.example"),
		"dot segment":        issuers("https://id.example/a/../b"),
		"encoded segment":    issuers("https://id.example/%2e%2e/b"),
		"two slashes":        issuers("https://id.example//b"),
		"encoded":            issuers("https://id.example/%61"),
		"blank":              issuers("https://id.example/a b"),
		"too long":           issuers("https://id.example/" + strings.Repeat("a", 512)),
		"too large":          `{"domain":"a.example","issuers":[],"x":"` + strings.Repeat("a", trust.MaxDocument) + `"}`,
	} {
		if doc, err := trust.ParseDocument([]byte(text), true); err == nil {
			t.Errorf("%s: ParseDocument = %+v, want an error", name, doc)
		}
	}
	for _, text := range []string{issuers(), `{"domain":"a.com","issuers":["http://id.com"]}`} {
		if _, err := trust.ParseDocument([]byte(text), false); err == nil {
			t.Errorf("ParseDocument(%s) = nil, want an error outside development", text)
		}
	}
}

// What is accepted names a canonical domain and a few distinct plain issuers, and is read again as the same when it is written.
func FuzzParseDocument(f *testing.F) {
	for _, text := range []string{
		`{"domain":"a.example","issuers":["https://id.example"]}`,
		`{"domain":"BÜCHER.example.","issuers":["https://id.example/im","http://[::1]:8080"],"x":[{}]}`,
		`{"domain":"a.example","issuers":[]}`,
		`{"domain":"a.example","issuers":["https://id.example/%2e%2e/"],"issuers":[]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := trust.ParseDocument(data, true)
		if err != nil {
			return
		}
		if domain, err := claims.CheckDomain(doc.Domain, true); err != nil || domain != doc.Domain {
			t.Errorf("domain %q is not canonical: %q, %v", doc.Domain, domain, err)
		}
		if len(data) > trust.MaxDocument || len(doc.Issuers) > trust.MaxNamedIssuers {
			t.Errorf("%d bytes, %d issuers", len(data), len(doc.Issuers))
		}
		seen := make(map[string]bool)
		for _, issuer := range doc.Issuers {
			if seen[issuer] || strings.ContainsAny(issuer, "?#@% \\\t\n") || strings.Contains(issuer, "/../") ||
				!strings.HasPrefix(issuer, "https://") && !strings.HasPrefix(issuer, "http://") {
				t.Errorf("issuer %q", issuer)
			}
			seen[issuer] = true
		}
		text, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		again, err := trust.ParseDocument(text, true)
		if err != nil && len(text) <= trust.MaxDocument || err == nil && !reflect.DeepEqual(again, doc) {
			t.Errorf("%s is read again as %+v, %v", text, again, err)
		}
	})
}
