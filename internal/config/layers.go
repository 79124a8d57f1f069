package config

import (
	"slices"

	"go.yaml.in/yaml/v4"
)

// ParseOver is [Parse] for settings that override a base document, called "development settings" in errors. Values of data
// replace those of base. Mappings are merged, and so are lists of mappings, whose elements are identified by id or name.
// Variables in env override both.
func ParseOver(base []byte, name string, data []byte, env []string) (*Config, error) {
	c, todo, err := examineOver(base, name, data, env)
	return complete(c, todo, err)
}

// under returns the document base with root merged over it. Errors in base name it as their file.
func (d *decoder) under(base []byte, root *yaml.Node) *yaml.Node {
	if base == nil || root == nil {
		return root
	}
	below := d.document(base)
	if below == nil {
		return root
	}
	var mark func(n *yaml.Node)
	mark = func(n *yaml.Node) {
		d.files[n] = "development settings"
		for _, child := range n.Content {
			mark(child)
		}
	}
	mark(below)
	return merge(below, root)
}

// merge returns base, overridden by over. If they cannot be merged it returns over, and decoding reports its errors.
func merge(base, over *yaml.Node) *yaml.Node {
	switch {
	case base.Kind == yaml.MappingNode && over.Kind == yaml.MappingNode:
		if mergeable(over) {
			return mergeMembers(base, over)
		}
	case base.Kind == yaml.SequenceNode && over.Kind == yaml.SequenceNode && identified(base) && identified(over):
		for _, elem := range over.Content {
			i := slices.IndexFunc(base.Content, func(b *yaml.Node) bool { return identity(b) == identity(elem) })
			if i < 0 {
				base.Content = append(base.Content, elem)
			} else {
				base.Content[i] = merge(base.Content[i], elem)
			}
		}
		return base
	}
	return over
}

func mergeMembers(base, over *yaml.Node) *yaml.Node {
	for i := 0; i+1 < len(over.Content); i += 2 {
		slot := -1
		for j := 0; j+1 < len(base.Content); j += 2 {
			if base.Content[j].Value == over.Content[i].Value {
				slot = j + 1
			}
		}
		if slot < 0 {
			base.Content = append(base.Content, over.Content[i], over.Content[i+1])
		} else {
			base.Content[slot] = merge(base.Content[slot], over.Content[i+1])
		}
	}
	return base
}

// mergeable reports whether n is a plain mapping without repeated keys. Decoding reports the error in any other.
func mergeable(n *yaml.Node) bool {
	seen := make(map[string]bool)
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Kind != yaml.ScalarNode || seen[n.Content[i].Value] {
			return false
		}
		seen[n.Content[i].Value] = true
	}
	return n.Anchor == "" && n.Style&yaml.TaggedStyle == 0
}

func identified(n *yaml.Node) bool {
	return !slices.ContainsFunc(n.Content, func(elem *yaml.Node) bool { return identity(elem) == "" })
}

// identity returns the id of a mapping, or its name if it has no id, or "".
func identity(n *yaml.Node) string {
	found := ""
	if n.Kind != yaml.MappingNode {
		return ""
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		switch key, value := n.Content[i].Value, n.Content[i+1].Value; {
		case key == "id":
			return value
		case key == "name":
			found = value
		}
	}
	return found
}
