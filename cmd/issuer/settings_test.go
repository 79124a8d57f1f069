package main

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

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

// TestSettingsExample holds the file of `issuer config example` to the settings that there are: each key stands in it,
// set or behind a #, with its default where it has one, and with a value that it can have.
func TestSettingsExample(t *testing.T) {
	whole := regexp.MustCompile(`(?m)^( *)#([^ #\n])`).ReplaceAllString(config.Example, "$1$2")
	set, shown := exampleKeys(t, config.Example), exampleKeys(t, whole)
	for _, s := range settings(reflect.TypeFor[config.Config](), "") {
		value, ok := shown[s.key]
		if !ok {
			t.Errorf("internal/config/example.yaml lacks %s", s.key)
			continue
		}
		delete(shown, s.key)
		if _, ok := set[s.key]; !ok && s.initial != "" && s.initial != "required" && value != s.initial {
			t.Errorf("internal/config/example.yaml: default of %s = %s, want %s", s.key, value, s.initial)
		}
	}
	for key := range shown {
		t.Errorf("internal/config/example.yaml has %s, which is no setting", key)
	}

	// What cannot be had by taking the # away alone.
	more := []string{"tls.cert_file", "kek_file_new", "storage_url_file", "redis_url_file", "outbound.ca_file", "tracing.headers_file", "service.logo_file", "outbound.dev_hosts", "domains[0].providers[0].client_secret_file", "peers[0].jwks_file", "peers[0].ca_file",
		"domains[0].ca.cert_file", "domains[0].wire.provisioners"}
	file := filepath.Join(t.TempDir(), "issuer.yaml")
	if err := os.WriteFile(file, []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := config.Check(file, nil)
	faults, _ := err.(config.Errors)
	for _, e := range faults {
		if !slices.Contains(more, e.Path) {
			t.Errorf("internal/config/example.yaml with every key: %v", e)
		}
	}
}

// exampleKeys returns the keys of a settings file as [settings] names them, each with its value, the first if it
// stands there several times, as [setting] writes that.
func exampleKeys(t *testing.T, file string) map[string]string {
	t.Helper()
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(file), &document); err != nil {
		t.Fatalf("%v in\n%s", err, file)
	}
	found := make(map[string]string)
	var gather func(n *yaml.Node, path string)
	gather = func(n *yaml.Node, path string) {
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := path+n.Content[i].Value, n.Content[i+1]
			if value.Kind == yaml.MappingNode && n.Content[i].Value != "dev_hosts" {
				gather(value, key+".")
				continue
			}
			words := []string{value.Value}
			if value.Kind == yaml.SequenceNode {
				words = nil
				for _, element := range value.Content {
					words = append(words, element.Value)
					gather(element, key+"[].")
				}
			}
			if _, ok := found[key]; !ok {
				found[key] = "`" + strings.Join(words, "`, `") + "`"
			}
		}
	}
	gather(document.Content[0], "")
	return found
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
