package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Reload returns c with what an issuer that runs with c can take up of next while it runs: clients, peers and
// limits. Waiting names the other settings that differ, which need a restart.
//
// The error, of type [Errors], says what of next cannot be taken up without a restart; nothing of it is to be taken up
// then.
func (c *Config) Reload(next *Config) (merged *Config, waiting []string, err error) {
	m := *c
	m.Clients, m.Peers, m.Limits = next.Clients, next.Peers, next.Limits
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
				d.report(index(join(index("clients", i), "domains"), j), "%q is not served before a restart: restart the issuer to apply this file", name)
			}
		}
	}
	for i, p := range m.Peers {
		if served[p.Domain] {
			d.report(join(index("peers", i), "domain"), "%q is served by this issuer until a restart: restart it to apply this file", p.Domain)
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

// places returns what reports faults of settings that were found good.
func (c *Config) places() *decoder {
	d := newDecoder(c.source.name)
	d.envs, d.files, d.where = c.source.envs, c.source.files, c.source.where
	return d
}

// Fault is a fault of settings that were found good by themselves, at the place where path stands.
func (c *Config) Fault(path, format string, args ...any) Error {
	d := c.places()
	d.report(path, format, args...)
	return d.errs[0]
}

// differences returns the paths of the settings in which a and b differ; that of a list if its length does.
func differences(a, b reflect.Value, path string) []string {
	if _, atom := atoms[a.Type()]; !atom && a.Kind() == reflect.Struct {
		var paths []string
		at := path
		for i := range a.NumField() {
			f := a.Type().Field(i)
			if !f.IsExported() {
				continue
			}
			// A field without a key is what the file holds that the key before it names.
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

// equal is [reflect.DeepEqual], for which an empty list is one that was left out.
func equal(a, b reflect.Value) bool {
	if a.Kind() == reflect.Slice && a.Len() == 0 && b.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}
