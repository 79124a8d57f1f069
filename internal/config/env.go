package config

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// serviceLink matches the variables by which Kubernetes describes every service to every pod. They are named after the service:
// those of a service called "issuer" or "issuer-…" begin with ISSUER_, too. No setting has such a name.
var serviceLink = regexp.MustCompile(`_SERVICE_(HOST|PORT)(_|$)|_PORT(_[0-9]+_(TCP|UDP|SCTP)(_|$)|$)`)

// commandLine are the variables of the command line, for operators over the network. They are no settings.
var commandLine = []string{"ISSUER_SERVER", "ISSUER_KEY", "ISSUER_CLIENT"}

// overlay writes the variables of env that begin with prefix into the document before it is decoded, so that variables and keys obey
// the same rules.
func (d *decoder) overlay(root *yaml.Node, prefix string, env []string) {
	env = slices.Sorted(slices.Values(env))
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok || serviceLink.MatchString(name) || slices.Contains(commandLine, name) {
			continue
		}
		parts := strings.Split(strings.ToLower(rest), "__")
		leaf := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
		d.envs[leaf] = name
		d.plant(root, leaf, parts, "", name)
	}
}

// plant puts leaf at the path parts below n. It makes missing mappings on the way.
func (d *decoder) plant(n, leaf *yaml.Node, parts []string, path, name string) {
	slot := -1
	switch n.Kind {
	case yaml.SequenceNode:
		i, err := strconv.Atoi(parts[0])
		if err != nil || i < 0 || i >= len(n.Content) {
			d.at(leaf, path, "there is no element %q: a variable changes elements of a list by number from 0, and adds none", parts[0])
			return
		}
		slot, path = i, index(path, i)
	case yaml.MappingNode:
		path = join(path, parts[0])
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == parts[0] {
				slot = i + 1
			}
		}
		if slot < 0 {
			key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: parts[0]}
			val := &yaml.Node{Kind: yaml.MappingNode}
			d.envs[key], d.envs[val] = name, name
			slot = len(n.Content) + 1
			n.Content = append(n.Content, key, val)
		}
	default:
		d.at(leaf, path, "has no key %q", parts[0])
		return
	}
	if len(parts) == 1 {
		n.Content[slot] = leaf
		return
	}
	d.plant(n.Content[slot], leaf, parts[1:], path, name)
}
