package config_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/verdict"
)

const trustPolicy = `# whom to trust
version: 1
methods:
  hierarchy: {status: required, max_age: 15m}
  xsign:     {hops: 1, introducers: 2, max_age: 30d}
  places:    {need: 2, min_age: 7d, max_age: 7d}
decide:
  - {hierarchy: good, xsign: good, then: verified}
  - {hierarchy: good, xsign: none, places: good, then: verified}
  - {hierarchy: good, then: accepted}
  - {hierarchy: none, xsign: good, then: accepted, only: [user, device]}
  - {then: refused}
`

// A policy in YAML is the one that it is in JSON.
func TestParsePolicy(t *testing.T) {
	got, err := config.ParsePolicy("policy.yaml", []byte(trustPolicy))
	if want := verdict.DefaultPolicy(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("ParsePolicy = %+v, %v, want %+v", got, err, want)
	}
}

// An error names the line and the part.
func TestParsePolicyErrors(t *testing.T) {
	for text, want := range map[string]string{
		strings.Replace(trustPolicy, "then: accepted}", "then: acepted}", 1):    "policy.yaml:10: decide[2].then: must be verified",
		strings.Replace(trustPolicy, "hops: 1", "hops: 7", 1):                   "policy.yaml:5: methods.xsign.hops: must be 1 or 2",
		strings.Replace(trustPolicy, "  - {then: refused}\n", "", 1):            "policy.yaml:11: decide[3]: the last rule must have no condition",
		strings.Replace(trustPolicy, "max_age: 15m", "max_age: soon", 1):        "policy.yaml:4: methods.hierarchy.max_age: must be an age",
		strings.Replace(trustPolicy, "version: 1", "version: &v 1", 1):          "policy.yaml:2: version: has an anchor",
		strings.Replace(trustPolicy, "version: 1", "version: 1.5", 1):           "policy.yaml:2: version: must be text or a whole number",
		strings.Replace(trustPolicy, "version: 1", "version: 1\nversion: 1", 1): "policy.yaml:",
		strings.Replace(trustPolicy, "version: 1", "version: 1\nrules: []", 1):  "policy.yaml:3: rules: there is no such member",
		trustPolicy + "---\n" + trustPolicy:                                     "a second document",
		"":                                                                      "version: must be 1",
		"[":                                                                     "policy.yaml",
	} {
		p, err := config.ParsePolicy("policy.yaml", []byte(text))
		var list config.Errors
		if !errors.As(err, &list) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\nParsePolicy = %+v, %v, want %q", text, p, err, want)
		}
	}
}
