package claims_test

import (
	"bytes"
	"database/sql"
	"database/sql/driver"
	"encoding"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/imidentity/issuer/claims"
)

var (
	_ encoding.TextAppender    = claims.ID{}
	_ encoding.TextMarshaler   = claims.ID{}
	_ encoding.TextUnmarshaler = (*claims.ID)(nil)
	_ driver.Valuer            = claims.ID{}
	_ sql.Scanner              = (*claims.ID)(nil)
	_ flag.Value               = (*claims.ID)(nil)
	_ slog.LogValuer           = claims.ID{}
	_ fmt.Stringer             = claims.ID{}
)

// TestEncodings takes every vector through all encodings and back.
func TestEncodings(t *testing.T) {
	for _, v := range vectors(t) {
		id, err := v.parse(claims.Lenient, v.Input)
		if err != nil {
			continue
		}
		if v.IM == "" && v.MIMI == "" { // X19 has neither
			if text, err := id.MarshalText(); err == nil {
				t.Errorf("%s: MarshalText = %q, want an error", v.ID, text)
			}
			if id.String() != v.Native {
				t.Errorf("%s: String = %q, want %q", v.ID, id, v.Native)
			}
			continue
		}
		type record struct {
			ID   claims.ID            `json:"id"`
			Keys map[claims.ID]string `json:"keys"`
		}
		want := record{id, map[claims.ID]string{id: "x"}}
		data, err := json.Marshal(want)
		var got record
		if err := errors.Join(err, json.Unmarshal(data, &got)); err != nil || got.ID != id || got.Keys[id] != "x" {
			t.Errorf("%s: JSON %s = %v, %v, want %v", v.ID, data, got, err, want)
		}
		value, err := id.Value()
		if err != nil {
			t.Errorf("%s: Value = %v", v.ID, err)
		}
		var text, blob claims.ID
		if err := errors.Join(text.Scan(value), blob.Scan([]byte(value.(string)))); err != nil || text != id || blob != id {
			t.Errorf("%s: Scan(%v) = %v, %v, %v", v.ID, value, text, blob, err)
		}
	}
}

func TestZero(t *testing.T) {
	var id claims.ID
	if !id.IsZero() || id.String() != "" || id.IM() != "" || id.MIMI() != "" || id.Native() != "" {
		t.Errorf("the zero ID writes %q", id)
	}
	if text, err := id.MarshalText(); err == nil {
		t.Errorf("MarshalText = %q, want an error", text)
	}
	if v, err := id.Value(); v != nil || err != nil {
		t.Errorf("Value = %v, %v, want NULL", v, err)
	}
	id = read(t, "im:%40alice@example.com")
	for _, src := range []any{"", "im:@alice@example.com", []byte("x"), 1, true} {
		before := id
		if err := id.Scan(src); err == nil || id != before {
			t.Errorf("Scan(%v) = %v, %v, want an error and no change", src, id, err)
		}
	}
	if err := id.Scan(nil); err != nil || !id.IsZero() {
		t.Errorf("Scan(nil) = %v, %v", id, err)
	}
	if err := json.Unmarshal([]byte(`""`), &id); !errors.Is(err, claims.CodeSchemeNotAllowed) {
		t.Errorf("Unmarshal = %v, want %v", err, claims.CodeSchemeNotAllowed)
	}
}

func TestFlag(t *testing.T) {
	flags := flag.NewFlagSet("test", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	var id claims.ID
	flags.Var(&id, "id", "an identifier")
	if err := flags.Parse([]string{"-id", "im:@Alice@Example.com"}); err != nil || id.String() != "im:%40alice@example.com" {
		t.Errorf("Parse = %v, %v", id, err)
	}
	if err := flags.Parse([]string{"-id", "alice"}); err == nil {
		t.Errorf("Parse = %v, want an error", id)
	}
}

func TestLogValue(t *testing.T) {
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("seen", "id", read(t, "im:@Alice@example.com"))
	if !strings.Contains(out.String(), "id=im:%40alice@example.com") {
		t.Errorf("logged %q", out.String())
	}
}

// TestError holds errors to telling the place and never the text.
func TestError(t *testing.T) {
	for _, c := range []struct {
		uri  string
		want claims.Error
	}{
		{"im:secret!@example.com", claims.Error{Code: claims.CodeDisallowedChar, Part: claims.PartLocal, Offset: 9}},
		{"im:%40s%C3%A9cret!@example.com", claims.Error{Code: claims.CodeDisallowedChar, Part: claims.PartLocal, Offset: 17}},
		{"im:secret%0A@example.com", claims.Error{Code: claims.CodeControlChar, Part: claims.PartLocal, Offset: 9}},
		{"im:secret%4@example.com", claims.Error{Code: claims.CodeBadPercent, Part: claims.PartLocal, Offset: 9}},
		{"im:u/secret!@example.com", claims.Error{Code: claims.CodeDisallowedChar, Part: claims.PartDevice, Offset: 11}},
		{"im:secret@ex ample.com", claims.Error{Code: claims.CodeBadDomain, Part: claims.PartDomain, Offset: 10}},
		{"im:secret@example.com;x=1", claims.Error{Code: claims.CodeUnknownParam, Part: claims.PartType, Offset: 22}},
		{"im:secret@example.com;id-type=x", claims.Error{Code: claims.CodeUnknownType, Part: claims.PartType, Offset: 30}},
		{"im:secret@example.com?x", claims.Error{Code: claims.CodeQueryNotAllowed, Part: claims.PartURI, Offset: 21}},
		{"im:nope=secret@example.com", claims.Error{Code: claims.CodeUnknownSystem, Part: claims.PartSystem, Offset: 3}},
		{"im:irc=example.com/se,cret", claims.Error{Code: claims.CodeUnknownParam, Part: claims.PartLocal, Offset: 22}},
		{"im:irc=example.com/%23se%3Acret", claims.Error{Code: claims.CodeDisallowedChar, Part: claims.PartLocal, Offset: 24}},
		{"mimi://example.com/u/secret/x", claims.Error{Code: claims.CodeExtraSegment, Part: claims.PartLocal, Offset: 28}},
		{"mimi://example.com/secret", claims.Error{Code: claims.CodeUnknownType, Part: claims.PartType, Offset: 19}},
		{"sip:a:secret@example.com", claims.Error{Code: claims.CodePasswordNotAllowed, Part: claims.PartLocal, Offset: 5}},
		{"secret:a@example.com", claims.Error{Code: claims.CodeSchemeNotAllowed, Part: claims.PartScheme, Offset: 0}},
		{"im:secret\xff@example.com", claims.Error{Code: claims.CodeNotUTF8, Part: claims.PartURI, Offset: 9}},
		{"im:" + strings.Repeat("secret", 700), claims.Error{Code: claims.CodeOverlongURI, Part: claims.PartURI, Offset: 0}},
	} {
		_, err := claims.ParseLenient(c.uri)
		var got *claims.Error
		if !errors.As(err, &got) || *got != c.want {
			t.Errorf("ParseLenient(%q) = %v, want %v", c.uri, err, &c.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("ParseLenient(%q) = %v, which repeats the text", c.uri, err)
		}
	}
	if _, err := claims.Parse("im:Alice@example.com"); err == nil || err.Error() != "claims: uri: not_canonical at byte 0" {
		t.Errorf("Parse = %v", err)
	}
}
