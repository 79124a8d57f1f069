package main

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/config"
)

var (
	settingRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.+?) \\| (.+) \\|$")
	inCode     = regexp.MustCompile("`([^`]+)`")
)

// TestSettingsDocument holds docs/settings.md to the settings that there are: a row for each, with its default and
// every value that it can have.
func TestSettingsDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[string][2]string)
	for _, m := range settingRow.FindAllStringSubmatch(string(text), -1) {
		if _, twice := rows[m[1]]; twice {
			t.Errorf("docs/settings.md has %s twice", m[1])
		}
		rows[m[1]] = [2]string{m[2], m[3]}
	}
	for _, s := range settings(reflect.TypeFor[config.Config](), "") {
		row, ok := rows[s.key]
		if !ok {
			t.Errorf("docs/settings.md lacks %s", s.key)
			continue
		}
		delete(rows, s.key)
		if s.initial != "" && row[0] != s.initial {
			t.Errorf("docs/settings.md: default of %s = %s, want %s", s.key, row[0], s.initial)
		}
		var named []string
		for _, m := range inCode.FindAllStringSubmatch(row[0]+row[1], -1) {
			named = append(named, m[1])
			if s.values != nil && !slices.Contains(s.values, m[1]) {
				t.Errorf("docs/settings.md: %s cannot be `%s`", s.key, m[1])
			}
		}
		for _, value := range s.values {
			if !slices.Contains(named, value) {
				t.Errorf("docs/settings.md: %s lacks the value `%s`", s.key, value)
			}
		}
	}
	for key := range rows {
		t.Errorf("docs/settings.md has %s, which is no setting", key)
	}
}

// A setting is a key of the settings file as the tags of its field describe it.
type setting struct {
	key     string
	initial string // the cell of its default, if the tags say what that is
	values  []string
}

func settings(t reflect.Type, path string) []setting {
	if t.Kind() != reflect.Struct {
		return nil
	}
	var list []setting
	for i := range t.NumField() {
		field := t.Field(i)
		name, option, _ := strings.Cut(field.Tag.Get("key"), ",")
		if name == "" {
			continue
		}
		if nested := settings(field.Type, path+name+"."); nested != nil {
			list = append(list, nested...)
			continue
		}
		s := setting{key: path + name}
		switch initial := field.Tag.Get("default"); {
		case option == "required":
			s.initial = "required"
		case initial != "":
			s.initial = "`" + strings.ReplaceAll(initial, ",", "`, `") + "`"
		case field.Type.Kind() == reflect.Bool:
			s.initial = "`false`"
		}
		if oneof := field.Tag.Get("oneof"); oneof != "" {
			s.values = strings.Split(oneof, ",")
		}
		list = append(list, s)
		if field.Type.Kind() == reflect.Slice {
			list = append(list, settings(field.Type.Elem(), path+name+"[].")...)
		}
	}
	return list
}
