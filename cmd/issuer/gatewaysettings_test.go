package main

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/config"
)

// TestGatewaySettingsDocument compares docs/gateway.md with the settings of the gateway: a row for each, with its default and every
// value that it can have.
func TestGatewaySettingsDocument(t *testing.T) {
	const document = "../../docs/gateway.md"
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Settings\n")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := make(map[string][2]string)
	for _, m := range settingRow.FindAllStringSubmatch(section, -1) {
		if _, twice := rows[m[1]]; twice {
			t.Errorf("%s has %s twice", document, m[1])
		}
		rows[m[1]] = [2]string{m[2], m[3]}
	}
	for _, s := range settings(reflect.TypeFor[config.Gateway](), "") {
		row, ok := rows[s.key]
		if !ok {
			t.Errorf("%s lacks %s", document, s.key)
			continue
		}
		delete(rows, s.key)
		if s.initial != "" && row[0] != s.initial {
			t.Errorf("%s: default of %s = %s, want %s", document, s.key, row[0], s.initial)
		}
		var named []string
		for _, m := range inCode.FindAllStringSubmatch(row[0]+row[1], -1) {
			named = append(named, m[1])
			if s.values != nil && !slices.Contains(s.values, m[1]) {
				t.Errorf("%s: %s cannot be `%s`", document, s.key, m[1])
			}
		}
		for _, value := range s.values {
			if !slices.Contains(named, value) {
				t.Errorf("%s: %s lacks the value `%s`", document, s.key, value)
			}
		}
	}
	for key := range rows {
		t.Errorf("%s has %s, which is no setting", document, key)
	}
}

// TestGatewayExample compares the file of `issuer gateway example` with the settings of the gateway: it has each key, set or behind a #,
// with its default if there is one, and with a value that is accepted.
func TestGatewayExample(t *testing.T) {
	const example = "internal/config/gateway.yaml"
	whole := regexp.MustCompile(`(?m)^( *)#([^ #\n])`).ReplaceAllString(config.GatewayExample, "$1$2")
	set, shown := exampleKeys(t, config.GatewayExample), exampleKeys(t, whole)
	for _, s := range settings(reflect.TypeFor[config.Gateway](), "") {
		value, ok := shown[s.key]
		if !ok {
			t.Errorf("%s lacks %s", example, s.key)
			continue
		}
		delete(shown, s.key)
		if _, ok := set[s.key]; !ok && s.initial != "" && s.initial != "required" && value != s.initial {
			t.Errorf("%s: default of %s = %s, want %s", example, s.key, value, s.initial)
		}
	}
	for key := range shown {
		t.Errorf("%s has %s, which is no setting", example, key)
	}
	dir := t.TempDir()
	if _, err := config.ParseGateway(filepath.Join(dir, "gateway.yaml"), []byte(config.GatewayExample), nil); err != nil {
		t.Errorf("%s: %v", example, err)
	}

	// These need a file, exclude another key, or have no use with the defaults of others.
	more := []string{
		"tls.cert_file", "upstream", "pass_credentials", "redis_url_file", "secret_file", "outbound.ca_file", "tracing.headers_file", "outbound.dev_hosts", "home.key_file",
		"identity.key_file", "peers[0].jwks_file", "discovery.allow", "discovery.refuse",
		"routes[0].refused_domains[0]",
	}
	_, err := config.ParseGateway(filepath.Join(dir, "gateway.yaml"), []byte(whole), nil)
	faults, _ := err.(config.Errors)
	for _, e := range faults {
		if !slices.Contains(more, e.Path) {
			t.Errorf("%s with every key: %v", example, e)
		}
	}
}
