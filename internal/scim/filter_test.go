package scim_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/scim"
)

func TestParseFilter(t *testing.T) {
	for text, want := range map[string]string{
		`userName eq "bjensen"`:                                                   `userName eq "bjensen"`,
		`  USERNAME   Eq   "b j"  `:                                               `userName eq "b j"`,
		`urn:ietf:params:scim:schemas:core:2.0:user:externalid eq "a"`:            `externalId eq "a"`,
		`active eq true`:                                                          `active eq true`,
		`active eq "False" AND id eq "x"`:                                         `active eq false and id eq "x"`,
		`((id eq "x")and active eq true)`:                                         "",
		`((id eq "x") and (active eq true and externalId eq "\u00e9\"\\ (and)"))`: `id eq "x" and active eq true and externalId eq "é\"\\ (and)"`,
		`id eq "a" and`:                                                           "", `and id eq "a"`: "", `id eq "a" or id eq "b"`: "", `id eq`: "", `id`: "", `id eq a`: "", `id eq 1`: "", `id eq true`: "",
		`active eq 1`: "", `id ne "a"`: "", `id eq "a`: "", `id eq "a\"`: "", `id eq"a"`: "", `idw eq "a"`: "", `id[eq "a"]`: "", `()`: "", `(id eq "a"`: "",
		`id eq "a")`: "", `id eq "a"and id eq "b"`: "", "id eq \"a\nb\"": "", `id eq "\ud800"`: "", `name.familyName eq "x"`: "", ``: "",
	} {
		got, err := scim.ParseFilter(text)
		if bad := (*scim.Error)(nil); want == "" {
			if !errors.As(err, &bad) || bad.Status != 400 || bad.Type != scim.InvalidFilter || bad.Detail == "" {
				t.Errorf("ParseFilter(%s) = %v, %v, want invalidFilter", text, got, err)
			}
		} else if err != nil || got.String() != want {
			t.Errorf("ParseFilter(%s) = %v, %v, want %s", text, got, err, want)
		}
	}
}

// FuzzParseFilter: a filter that is accepted compares known attributes alone, by values that stand in the text, and its shortest form is
// read as the same filter.
func FuzzParseFilter(f *testing.F) {
	for _, seed := range []string{
		`userName eq "a@example.com"`, `(externalId eq "x" and active eq "True")`, `id eq "a\"b" AND active eq false`, `userName eq "a" or id eq "b"`, `((((`, `id eq "`,
		`urn:ietf:params:scim:schemas:core:2.0:User:id eq "\u0041"`, `emails[type eq "work"].value eq "x"`, "id eq \"\x00\"", `active eq true and active eq false`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := scim.ParseFilter(text)
		if err != nil {
			bad := (*scim.Error)(nil)
			if body, failed := json.Marshal(err); failed != nil || !errors.As(err, &bad) || bad.Status != 400 || !json.Valid(body) {
				t.Errorf("error = %v, %v, want one of SCIM", err, failed)
			}
			return
		}
		if len(got) == 0 || strings.Count(strings.ToLower(text), "eq") < len(got) {
			t.Errorf("%q has %d comparisons", text, len(got))
		}
		for _, c := range got {
			if !slices.Contains([]string{"userName", "externalId", "id", "active"}, c.Attribute) {
				t.Errorf("%q compares %s", text, c.Attribute)
			}
		}
		if again, err := scim.ParseFilter(got.String()); err != nil || !reflect.DeepEqual(again, got) {
			// A text may be too long in its shortest form, where characters are escaped.
			if len(got.String()) <= 2048 {
				t.Errorf("%q is %q, which is read as %v, %v", text, got, again, err)
			}
		}
	})
}
