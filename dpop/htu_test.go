package dpop_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/imidentity/issuer/dpop"
)

func TestNormalizeHTU(t *testing.T) {
	for in, want := range map[string]string{
		"https://as.example/token":                            "https://as.example/token",
		"HTTPS://AS.Example/token":                            "https://as.example/token",
		"https://as.example/Token":                            "https://as.example/Token",
		"https://as.example":                                  "https://as.example/",
		"https://as.example?a=b":                              "https://as.example/",
		"https://as.example#a":                                "https://as.example/",
		"https://as.example/token?a=b#c":                      "https://as.example/token",
		"https://as.example/token#c?a=b":                      "https://as.example/token",
		"https://as.example/token?":                           "https://as.example/token",
		"https://as.example/token?u=https://x/../y":           "https://as.example/token",
		"https://as.example:443/":                             "https://as.example/",
		"https://as.example:0443/":                            "https://as.example/",
		"https://as.example:/":                                "https://as.example/",
		"https://as.example:80/":                              "https://as.example:80/",
		"http://as.example:80/":                               "http://as.example/",
		"http://as.example:443/":                              "http://as.example:443/",
		"https://as.example:65535/":                           "https://as.example:65535/",
		"https://as.example./":                                "https://as.example./",
		"https://as.example/%7Ealice":                         "https://as.example/~alice",
		"https://as.example/%7ealice":                         "https://as.example/~alice",
		"https://as.example/%61%2D%2e%5Fb":                    "https://as.example/a-._b",
		"https://as.example/a%2fb":                            "https://as.example/a%2Fb",
		"https://as.example/a%2Fb":                            "https://as.example/a%2Fb",
		"https://as.example/a%3fb":                            "https://as.example/a%3Fb",
		"https://as.example/a%23b":                            "https://as.example/a%23b",
		"https://as.example/%2561":                            "https://as.example/%2561",
		"https://as.example/%c3%a9":                           "https://as.example/%C3%A9",
		"https://as.example/a%20b":                            "https://as.example/a%20b",
		"https://as.example/a;b=c,d@e:f!$&'()*+":              "https://as.example/a;b=c,d@e:f!$&'()*+",
		"https://%61s.ex%41mple/":                             "https://as.example/",
		"https://as.example/a/./b/../c":                       "https://as.example/a/c",
		"https://as.example/a/.":                              "https://as.example/a/",
		"https://as.example/a/..":                             "https://as.example/",
		"https://as.example/a/b/..":                           "https://as.example/a/",
		"https://as.example/../../a":                          "https://as.example/a",
		"https://as.example/..":                               "https://as.example/",
		"https://as.example/.":                                "https://as.example/",
		"https://as.example/a/%2e%2E/b":                       "https://as.example/b",
		"https://as.example/a/%2e/b":                          "https://as.example/a/b",
		"https://as.example/a/..%2fb":                         "https://as.example/a/..%2Fb",
		"https://as.example//a//b/":                           "https://as.example//a//b/",
		"https://as.example/a//../b":                          "https://as.example/a/b",
		"https://as.example/.a/..b/c..":                       "https://as.example/.a/..b/c..",
		"https://192.0.2.1:8443/":                             "https://192.0.2.1:8443/",
		"https://[2001:DB8::1]/":                              "https://[2001:db8::1]/",
		"https://[2001:db8:0:0:0:0:0:1]:443/":                 "https://[2001:db8::1]/",
		"https://[::1]:8443/a":                                "https://[::1]:8443/a",
		"https://[::1]":                                       "https://[::1]/",
		"https://XN--BCHER-KVA.example/":                      "https://xn--bcher-kva.example/",
		"https://as.example/" + strings.Repeat("a", 500):      "https://as.example/" + strings.Repeat("a", 500),
		"https://as.example/x/../" + strings.Repeat("a", 300): "https://as.example/" + strings.Repeat("a", 300),
	} {
		if got, err := dpop.NormalizeHTU(in); got != want || err != nil {
			t.Errorf("NormalizeHTU(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "/token", "as.example/token", "//as.example/token", "https:/as.example", "https:as.example",
		"ftp://as.example/", "javascript://as.example/", "https ://as.example/",
		"https://", "https:///token", "https://:443/", "https://?a",
		"https://alice@as.example/", "https://alice:secret@as.example/", "https://as.example@evil.example/",
		"https://as.example%40evil.example/",
		"https://as.example:x/", "https://as.example:65536/", "https://as.example:-1/", "https://as.example:+1/",
		"https://as.example:44 3/", "https://as.example:443:443/", "https://as.example:%34/",
		"https://[::1/", "https://[::1]x/", "https://[::1]443/", "https://[::1%25eth0]/", "https://[192.0.2.1]/",
		"https://[]/", "https://::1/", "https://a[::1]/",
		"https://as.example/%", "https://as.example/%4", "https://as.example/%4g", "https://as.example/%%41",
		"https://%zz/", "https://as.example%2F/", "https://as.example%00/",
		"https://as.example/a b", "https://as.example/\t", "https://as.example/\x00", "https://as.example/\x7f",
		`https://as.example\token`, `https://as.example/a\b`,
		"https://bücher.example/", "https://b%C3%BCcher.example/", "https://as.example/é", "https://as example/",
		"https://as.example/token\n", "http://as.example/.%2F>q", "https://as.example/a|b", "https://as.example/{a}",
		"https://as.example/[a]", `https://as.example/"`, "https://as.example/^", "https://as.example/`",
	} {
		if got, err := dpop.NormalizeHTU(in); err == nil {
			t.Errorf("NormalizeHTU(%q) = %q, want an error", in, got)
		}
	}
}

// What is normal stays as it is, also when query and fragment are added, and has no dot segments, user information or
// anything else that a comparison would have to think about.
func FuzzHTU(f *testing.F) {
	for _, seed := range []string{
		"https://as.example/token", "HTTP://AS.example:80/a/./../%7e%2f?q#f", "https://[2001:DB8::1]:443//x/..",
		"https://a/%2e%2e/%41", "http://a:0080", "https://a@b/", "https://a\\b", "HTTP://AS.exampl./.%2f>q#./%7",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		normal, err := dpop.NormalizeHTU(in)
		if err != nil {
			return
		}
		if again, err := dpop.NormalizeHTU(normal); again != normal || err != nil {
			t.Errorf("NormalizeHTU(%q) = %q, %v, want it unchanged", normal, again, err)
		}
		for _, rest := range []string{"?q=/../x", "#f"} {
			if got, err := dpop.NormalizeHTU(normal + rest); got != normal || err != nil {
				t.Errorf("NormalizeHTU(%q) = %q, %v, want %q", normal+rest, got, err, normal)
			}
		}
		u, err := url.Parse(normal)
		if err != nil {
			t.Fatalf("net/url: %v", err)
		}
		if u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Host == "" ||
			!strings.HasPrefix(u.EscapedPath(), "/") || u.Scheme != "https" && u.Scheme != "http" {
			t.Errorf("NormalizeHTU(%q) = %q, which net/url reads as %#v", in, normal, u)
		}
		for segment := range strings.SplitSeq(u.EscapedPath(), "/") {
			if segment == "." || segment == ".." {
				t.Errorf("NormalizeHTU(%q) = %q, which has dot segments", in, normal)
			}
		}
	})
}
