package sasl_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/sasl"
)

func TestParseMessage(t *testing.T) {
	for text, want := range map[string]sasl.Message{
		"n,,\x01auth=DPoP a.b.c\x01presentation=d.e.f\x01\x01":                             {Scheme: "dpop", Token: "a.b.c", Presentation: "d.e.f"},
		"n,a=alice@example.com,\x01auth=dpop a.b.c\x01presentation=d\x01\x01":              {"alice@example.com", "dpop", "a.b.c", "d"},
		"y,a=a=2Cb=3D2C,\x01presentation=d\x01auth=DPoP t==\x01\x01":                       {"a,b=2C", "dpop", "t==", "d"},
		"n,,\x01host=example.com\x01port=5222\x01auth=Bearer a\x01X=\tone two\r\n\x01\x01": {Scheme: "bearer", Token: "a"},
		"n,a=jürgen@example.com,\x01\x01":                                                  {Authzid: "jürgen@example.com"},
	} {
		if got, err := sasl.ParseMessage([]byte(text)); err != nil || got != want {
			t.Errorf("ParseMessage(%q) = %+v, %v, want %+v", text, got, err, want)
		}
	}
	for text, says := range map[string]string{
		"":                         "no byte 1 after the GS2 header",
		"n,,":                      "no byte 1 after the GS2 header",
		"\x01":                     "GS2 header", // RFC 7628 §3.2.3: the client has read an error
		"\x01\x01":                 "GS2 header",
		"n,,\x01":                  "does not end",
		"n,,\x01auth=DPoP a":       "does not end",
		"n,,\x01auth=DPoP a\x01":   "does not end",
		"n,,\x01\x01\x01":          "not well-formed",
		"n,,\x01\x01auth=DPoP a":   "not well-formed",
		"n,\x01\x01":               "GS2 header",
		"n,,,\x01\x01":             "GS2 header",
		"n,,x\x01\x01":             "GS2 header",
		"F,n,,\x01\x01":            "GS2 header",
		"x,,\x01\x01":              "must begin with n or y",
		"N,,\x01\x01":              "must begin with n or y",
		",,\x01\x01":               "must begin with n or y",
		"p=tls-exporter,,\x01\x01": "no channel binding",
		"n,alice,\x01\x01":         "second field",
		"n,a=,\x01\x01":            "second field",
		"n,a=x=,\x01\x01":          "=2C or =3D",
		"n,a=x=2c,\x01\x01":        "=2C or =3D",
		"n,a=x=41,\x01\x01":        "=2C or =3D",
		"n,a=\xff,\x01\x01":        "UTF-8",

		"n,,\x01auth\x01\x01":                                          "not well-formed",
		"n,,\x01=x\x01\x01":                                            "not well-formed",
		"n,,\x01au th=x\x01\x01":                                       "not well-formed",
		"n,,\x01a1=x\x01\x01":                                          "not well-formed",
		"n,,\x01host=\x00\x01\x01":                                     "not well-formed",
		"n,,\x01host=\u00e9\x01\x01":                                   "not well-formed",
		"n,,\x01auth=DPoP\x01\x01":                                     "value of auth",
		"n,,\x01auth=DPoP \x01\x01":                                    "value of auth",
		"n,,\x01auth=DPoP  a\x01\x01":                                  "value of auth",
		"n,,\x01auth=DPoP a b\x01\x01":                                 "value of auth",
		"n,,\x01auth=DPoP a,b\x01\x01":                                 "value of auth",
		"n,,\x01auth=DPoP ==\x01\x01":                                  "value of auth",
		"n,,\x01presentation=\x01\x01":                                 "value of presentation",
		"n,,\x01presentation=a b\x01\x01":                              "value of presentation",
		"n,,\x01auth=DPoP a\x01auth=DPoP b\x01\x01":                    "a key twice",
		"n,,\x01presentation=a\x01presentation=a\x01\x01":              "a key twice",
		"n,,\x01auth=DPoP " + strings.Repeat("a", 32<<10) + "\x01\x01": "more than 32768 bytes",
	} {
		m, err := sasl.ParseMessage([]byte(text))
		var no *sasl.Refusal
		if !errors.As(err, &no) || no.Condition != sasl.MalformedRequest || !strings.Contains(no.Text, says) {
			t.Errorf("ParseMessage(%.60q) = %+v, %v, want malformed-request: %s", text, m, err, says)
		}
	}
}

// FuzzParseMessage checks that a message that is accepted can be written again and is then read as the same one, and that a refused
// one is a Refusal.
func FuzzParseMessage(f *testing.F) {
	f.Add([]byte("n,a=alice@example.com,\x01auth=DPoP a.b.c\x01presentation=d.e.f\x01\x01"))
	f.Add([]byte("y,a==2C=3D,\x01host=x\x01\x01"))
	f.Add([]byte("n,,\x01\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := sasl.ParseMessage(data)
		if err != nil {
			if no := (*sasl.Refusal)(nil); !errors.As(err, &no) || no.Condition != sasl.MalformedRequest {
				t.Fatalf("ParseMessage = %v, want malformed-request", err)
			}
			return
		}
		if again, err := sasl.ParseMessage(write(m)); err != nil || again != m {
			t.Errorf("ParseMessage = %+v, then %+v, %v", m, again, err)
		}
	})
}

// write returns the message in the format of RFC 7628 §3.1.
func write(m sasl.Message) []byte {
	text := "n,"
	if m.Authzid != "" {
		text += "a=" + strings.NewReplacer(",", "=2C", "=", "=3D").Replace(m.Authzid)
	}
	text += ",\x01"
	if m.Token != "" {
		text += "auth=" + m.Scheme + " " + m.Token + "\x01"
	}
	if m.Presentation != "" {
		text += "presentation=" + m.Presentation + "\x01"
	}
	return []byte(text + "\x01")
}
