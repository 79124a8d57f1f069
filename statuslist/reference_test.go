package statuslist_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/imidentity/issuer/statuslist"
)

func TestReference(t *testing.T) {
	for text, want := range map[string]statuslist.Reference{
		`{"status_list":{"idx":0,"uri":"https://example.com/statuslists/1"}}`:                    {0, "https://example.com/statuslists/1"}, // §6.2
		`{"other":{"idx":[]},"status_list":{"uri":"https://x/","idx":18446744073709551615}}`:     {1<<64 - 1, "https://x/"},
		` { "status_list" : { "idx" : 7 , "uri" : "https://x/?a=1&b=<2>" , "more" : [1, 2] } } `: {7, "https://x/?a=1&b=<2>"},
	} {
		got, err := statuslist.ParseReference([]byte(text))
		if err != nil || got != want {
			t.Errorf("ParseReference(%s) = %+v, %v, want %+v", text, got, err, want)
		}
		again, err := statuslist.ParseReference(got.AppendJSON(nil))
		if err != nil || again != want {
			t.Errorf("ParseReference(%s) = %+v, %v, want %+v", got.AppendJSON(nil), again, err, want)
		}
		var claims struct{ Status statuslist.Reference }
		if err := json.Unmarshal([]byte(`{"status":`+text+`}`), &claims); err != nil || claims.Status != want {
			t.Errorf("Unmarshal = %+v, %v, want %+v", claims.Status, err, want)
		}
	}
	for name, text := range map[string]string{
		"nothing":              ``,
		"null":                 `null`,
		"an array":             `[]`,
		"another mechanism":    `{"identifier_list":{"id":"7","uri":"https://x/"}}`,
		"no idx":               `{"status_list":{"uri":"https://x/"}}`,
		"no uri":               `{"status_list":{"idx":7}}`,
		"empty uri":            `{"status_list":{"idx":7,"uri":""}}`,
		"uri as number":        `{"status_list":{"idx":7,"uri":7}}`,
		"idx as text":          `{"status_list":{"idx":"7","uri":"https://x/"}}`,
		"idx below zero":       `{"status_list":{"idx":-1,"uri":"https://x/"}}`,
		"idx as fraction":      `{"status_list":{"idx":7.5,"uri":"https://x/"}}`,
		"idx as power":         `{"status_list":{"idx":1e3,"uri":"https://x/"}}`,
		"idx beyond 64 bits":   `{"status_list":{"idx":18446744073709551616,"uri":"https://x/"}}`,
		"idx twice":            `{"status_list":{"idx":7,"idx":8,"uri":"https://x/"}}`,
		"idx also in capitals": `{"status_list":{"idx":7,"IDX":8,"uri":"https://x/"}}`,
		"status_list as array": `{"status_list":[7,"https://x/"]}`,
		"something behind":     `{"status_list":{"idx":7,"uri":"https://x/"}}{}`,
	} {
		if ref, err := statuslist.ParseReference([]byte(text)); !errors.Is(err, statuslist.ErrReference) {
			t.Errorf("%s: ParseReference = %+v, %v, want %v", name, ref, err, statuslist.ErrReference)
		}
	}
}
