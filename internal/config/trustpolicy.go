package config

import (
	"encoding/json"
	"errors"
	"fmt"

	"go.yaml.in/yaml/v4"

	"github.com/imidentity/issuer/verdict"
)

// ParsePolicy reads the policy of a verifier in data, which is YAML with the members of [verdict.ParsePolicy]. The name of the file is
// for errors. The error is [Errors], with the line of what is wrong.
func ParsePolicy(name string, data []byte) (verdict.Policy, error) {
	d := newDecoder(name)
	root := d.document(data)
	var text []byte
	if root != nil {
		text = d.asJSON(nil, root, "")
	}
	if len(d.errs) > 0 {
		return verdict.Policy{}, d.errs
	}
	policy, err := verdict.ParsePolicy(text)
	if err == nil {
		return policy, nil
	}
	if wrong := (*verdict.PolicyError)(nil); errors.As(err, &wrong) {
		d.report(wrong.Part, "%s", wrong.Err)
	} else {
		d.report("", "%s", err)
	}
	return verdict.Policy{}, d.errs
}

// asJSON appends a node as JSON, and remembers where each value is. Members that are repeated stay so.
func (d *decoder) asJSON(b []byte, n *yaml.Node, path string) []byte {
	d.where[path] = n
	switch {
	case n.Kind == yaml.AliasNode:
		d.refuse(n, path, "is an alias (*%s): write the value out", n.Value)
	case n.Anchor != "":
		d.refuse(n, path, "has an anchor (&%s): aliases are not supported", n.Anchor)
	case n.Kind == yaml.MappingNode:
		b = append(b, '{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				b = append(b, ',')
			}
			name := n.Content[i].Value
			b = append(appendJSON(b, name), ':')
			member := name
			if path != "" {
				member = path + "." + name
			}
			b = d.asJSON(b, n.Content[i+1], member)
		}
		b = append(b, '}')
	case n.Kind == yaml.SequenceNode:
		b = append(b, '[')
		for i, element := range n.Content {
			if i > 0 {
				b = append(b, ',')
			}
			b = d.asJSON(b, element, fmt.Sprintf("%s[%d]", path, i))
		}
		b = append(b, ']')
	case n.ShortTag() == "!!int":
		b = append(b, n.Value...)
	case n.ShortTag() == "!!str":
		b = appendJSON(b, n.Value)
	default:
		d.refuse(n, path, "must be text or a whole number")
	}
	return b
}

func appendJSON(b []byte, s string) []byte {
	text, _ := json.Marshal(s) // of a string it always succeeds
	return append(b, text...)
}
