package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Reload returns c with those settings of next that a running issuer can apply: clients, peers, limits and service. Waiting lists
// the other settings that differ: they need a restart.
//
// The error, of type [Errors], lists what cannot be applied without a restart and also prevents that the rest is applied.
func (c *Config) Reload(next *Config) (merged *Config, waiting []string, err error) {
	m := *c
	m.Clients, m.Peers, m.Limits, m.Service = next.Clients, next.Peers, next.Limits, next.Service
	m.source = next.source

	d := next.places()
	if next.Development != c.Development {
		d.report("development", "changes the rules for everything else: restart the issuer to apply this file")
	}
	served := make(map[string]bool)
	for _, domain := range c.Domains {
		served[domain.Name] = true
	}
	for i, client := range m.Clients {
		for j, name := range client.Domains {
			if !served[name] {
				d.report(index(join(index("clients", i), "domains"), j),
					"%q is not served before a restart: restart the issuer to apply this file", name)
			}
		}
	}
	for i, client := range m.Clients {
		if alg := client.SignedResponseAlg; alg != "" && alg != c.Signing.Alg {
			d.report(join(index("clients", i), "introspection_signed_response_alg"),
				"%q is what this issuer signs with after a restart: restart the issuer to apply this file", alg)
		}
	}
	for i, p := range m.Peers {
		if served[p.Domain] {
			d.report(join(index("peers", i), "domain"),
				"%q is served by this issuer until a restart: restart it to apply this file", p.Domain)
		}
		if p.Issuer == c.Issuer {
			d.report(join(index("peers", i), "issuer"), "is this issuer until a restart: restart it to apply this file")
		}
	}
	if len(d.errs) > 0 {
		d.errs.sort()
		return nil, nil, d.errs
	}
	return &m, differences(reflect.ValueOf(m), reflect.ValueOf(*next), ""), nil
}

// places returns a decoder that reports errors at the places of these settings.
func (c *Config) places() *decoder {
	d := newDecoder(c.source.name)
	d.envs, d.files, d.where = c.source.envs, c.source.files, c.source.where
	return d
}

// Fault returns an error about the setting at path, for checks that need more than the settings.
func (c *Config) Fault(path, format string, args ...any) Error {
	d := c.places()
	d.report(path, format, args...)
	return d.errs[0]
}

// differences returns the paths of the settings that differ between a and b. For lists of different length it is the list's.
func differences(a, b reflect.Value, path string) []string {
	if _, atom := atoms[a.Type()]; !atom && a.Kind() == reflect.Struct {
		var paths []string
		at := path
		for i := range a.NumField() {
			f := a.Type().Field(i)
			if !f.IsExported() {
				continue
			}
			// A field without a key is the content of the file that the key before it names.
			if key, _, _ := strings.Cut(f.Tag.Get("key"), ","); key != "" {
				at = join(path, key)
			}
			for _, p := range differences(a.Field(i), b.Field(i), at) {
				if !slices.Contains(paths, p) {
					paths = append(paths, p)
				}
			}
		}
		return paths
	}
	if a.Kind() == reflect.Slice && a.Len() == b.Len() && a.Type().Elem().Kind() == reflect.Struct {
		var paths []string
		for i := range a.Len() {
			paths = append(paths, differences(a.Index(i), b.Index(i), fmt.Sprintf("%s[%d]", path, i))...)
		}
		return paths
	}
	if !equal(a, b) {
		return []string{path}
	}
	return nil
}

// equal is [reflect.DeepEqual], except that an empty list equals a missing one.
func equal(a, b reflect.Value) bool {
	if a.Kind() == reflect.Slice && a.Len() == 0 && b.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}
