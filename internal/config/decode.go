package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// A decoder reads a YAML document into the structs of this package and collects all errors. The YAML library could fill the
// structs itself, but its errors would speak of Go types and have no key paths.
type decoder struct {
	name   string
	errs   Errors
	warned Errors                // valid, but hardly intended
	todo   Errors                // no errors in the settings, but things to make before the first start
	envs   map[*yaml.Node]string // the variable's name, for nodes from the environment
	files  map[*yaml.Node]string // the document's name, for nodes from a base document
	where  map[string]*yaml.Node // the node at each key path that was given
	bad    map[string]bool       // key paths whose values could not be read

	inList []*yaml.Node // the elements of the list that is being read
}

func newDecoder(name string) *decoder {
	return &decoder{
		name:  name,
		envs:  make(map[*yaml.Node]string),
		files: make(map[*yaml.Node]string),
		where: make(map[string]*yaml.Node),
		bad:   make(map[string]bool),
	}
}

// document returns the mapping in data: an empty one for an empty file, nil if data cannot be read.
func (d *decoder) document(data []byte) *yaml.Node {
	empty := &yaml.Node{Kind: yaml.MappingNode, Line: 1}
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	var doc, second yaml.Node
	if err == nil {
		err = loader.Load(&doc)
	}
	if errors.Is(err, io.EOF) {
		return empty
	}
	if err != nil {
		d.syntax(err)
		return nil
	}
	switch err := loader.Load(&second); {
	case err == nil:
		d.errs = append(d.errs, Error{File: d.name, Line: second.Line, Message: "a second document: the settings are one"})
	case !errors.Is(err, io.EOF):
		d.syntax(err)
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return empty
	}
	return root
}

func (d *decoder) syntax(err error) {
	e := Error{File: d.name, Message: err.Error()}
	if le := (*yaml.LoadError)(nil); errors.As(err, &le) {
		e.Line, e.Message = le.Mark.Line, "not YAML: "+le.Message
	}
	d.errs = append(d.errs, e)
}

// at reports an error of the node n at path.
func (d *decoder) at(n *yaml.Node, path, format string, args ...any) {
	e := Error{File: d.name, Line: n.Line, Path: path, Message: fmt.Sprintf(format, args...)}
	if env, ok := d.envs[n]; ok {
		e.File, e.Line = "environment "+env, 0
	} else if file, ok := d.files[n]; ok {
		e.File, e.Line = file, 0
	}
	d.errs = append(d.errs, e)
}

// refuse reports a node whose value cannot be read.
func (d *decoder) refuse(n *yaml.Node, path, format string, args ...any) {
	d.bad[path] = true
	d.at(n, path, format, args...)
}

// later reports something that has to be made before the first start.
func (d *decoder) later(path, format string, args ...any) {
	n := len(d.errs)
	d.report(path, format, args...)
	d.todo = append(d.todo, d.errs[n:]...)
	d.errs = d.errs[:n:n]
}

// warn reports something valid that the operator hardly intends.
func (d *decoder) warn(path, format string, args ...any) {
	n := len(d.errs)
	d.report(path, format, args...)
	d.warned = append(d.warned, d.errs[n:]...)
	d.errs = d.errs[:n:n]
}

// report reports an error of the value at path, at the line of the nearest key that is in the file. It reports nothing if the
// value, or a value that contains it, could not be read: that is reported already.
func (d *decoder) report(path, format string, args ...any) {
	var nearest *yaml.Node
	for p := path; ; p = p[:max(0, strings.LastIndexAny(p, ".["))] {
		if d.bad[p] {
			return
		}
		if n, ok := d.where[p]; ok && nearest == nil {
			nearest = n
		}
		if p == "" {
			break
		}
	}
	d.at(nearest, path, format, args...)
}

// decode reads a document into the struct that into points to.
func (d *decoder) decode(root *yaml.Node, into any) {
	d.value(root, reflect.ValueOf(into).Elem(), "", "")
}

// value reads n into v. If oneof is not empty, a scalar must be one of its words, and so must each element of a list.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path, oneof string) {
	d.where[path] = n
	switch {
	case n.Kind == yaml.AliasNode:
		d.refuse(n, path, "is an alias (*%s): write the value out", n.Value)
		return
	case n.Anchor != "":
		d.refuse(n, path, "has an anchor (&%s): aliases are not supported", n.Anchor)
		return
	case n.Style&yaml.TaggedStyle != 0:
		d.refuse(n, path, "has a tag (%s): leave it out", n.ShortTag())
		return
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
		d.refuse(n, path, "has no value: give one or leave the key out")
		return
	}
	kind := yaml.ScalarNode
	want := ""
	_, atom := atoms[v.Type()]
	switch {
	case atom:
	case v.Kind() == reflect.Struct:
		kind, want = yaml.MappingNode, "a mapping of keys to values"
	case v.Kind() == reflect.Map:
		kind, want = yaml.MappingNode, "a mapping of names to values"
	case v.Kind() == reflect.Slice:
		kind, want = yaml.SequenceNode, "a list"
	}
	if n.Kind != kind {
		if want == "" {
			want = "one value, not a list or a mapping"
		}
		d.refuse(n, path, "must be %s", want)
		return
	}
	switch {
	case atom:
		d.atom(n, v, path, oneof)
	case v.Kind() == reflect.Struct:
		d.structure(n, v, path)
	case v.Kind() == reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		d.members(n, path, func(key, val *yaml.Node, path string) {
			elem := reflect.New(v.Type().Elem()).Elem()
			d.value(val, elem, path, oneof)
			v.SetMapIndex(reflect.ValueOf(key.Value), elem)
		})
	default:
		d.list(n, v, path, oneof)
	}
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value, path string) {
	fields := fieldsOf(v.Type())
	setDefaults(v)
	var known []string
	for _, f := range fields {
		known = append(known, f.key)
	}
	given := make(map[string]bool)
	d.members(n, path, func(key, val *yaml.Node, path string) {
		i := slices.Index(known, key.Value)
		if i < 0 {
			var set []string
			for i := 0; i+1 < len(n.Content) && d.envs[key] == ""; i += 2 { // a variable may repeat a key
				set = append(set, n.Content[i].Value)
			}
			d.at(key, path, "unknown key; %s", suggest(key.Value, known, set))
			return
		}
		given[key.Value] = true
		d.value(val, v.Field(fields[i].index), path, fields[i].oneof)
	})
	for _, f := range fields {
		if f.required && !given[f.key] {
			d.refuse(n, join(path, f.key), "is required")
		}
	}
}

// members calls each for every member of a mapping. It reports keys that are not plain scalars, and repeated ones.
func (d *decoder) members(n *yaml.Node, path string, each func(key, val *yaml.Node, path string)) {
	lines := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			d.at(key, path, "a key must be a word")
			continue
		}
		p := join(path, key.Value)
		if key.ShortTag() == "!!merge" {
			d.at(key, p, "merging is not supported: write the keys out")
			continue
		}
		if line, ok := lines[key.Value]; ok {
			d.at(key, p, "repeated key, first on line %d: remove one", line)
			continue
		}
		lines[key.Value] = key.Line
		each(key, val, p)
	}
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path, oneof string) {
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, elem := range n.Content {
		d.inList = n.Content
		d.value(elem, v.Index(i), index(path, i), oneof)
	}
	d.inList = nil
	if _, ok := atoms[v.Type().Elem()]; !ok {
		return
	}
	for i := range v.Len() {
		for j := range i {
			if v.Index(i).Equal(v.Index(j)) && !d.bad[index(path, j)] {
				d.report(index(path, i), "repeated: the same as %s", index(path, j))
				break
			}
		}
	}
}

func (d *decoder) atom(n *yaml.Node, v reflect.Value, path, oneof string) {
	if words := strings.Split(oneof, ","); oneof != "" && !slices.Contains(words, n.Value) {
		var listed []string
		for _, n := range d.inList {
			listed = append(listed, n.Value)
		}
		d.refuse(n, path, "%q is not a value it can have; %s", n.Value, suggest(n.Value, words, listed))
		return
	}
	x, err := atoms[v.Type()](n.Value)
	if err != nil {
		d.refuse(n, path, "%q is not %v", n.Value, err)
		return
	}
	v.Set(reflect.ValueOf(x))
}

// A field is a setting, as described by its tags.
type field struct {
	index    int
	key      string
	required bool
	initial  string
	oneof    string
}

func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		key, option, _ := strings.Cut(tag.Get("key"), ",")
		if key == "" {
			continue
		}
		fields = append(fields, field{i, key, option == "required", tag.Get("default"), tag.Get("oneof")})
	}
	return fields
}

// setDefaults fills a struct and the structs in it with their default values.
func setDefaults(v reflect.Value) {
	for _, f := range fieldsOf(v.Type()) {
		x := v.Field(f.index)
		switch {
		case f.initial == "" && x.Kind() == reflect.Struct && atoms[x.Type()] == nil:
			setDefaults(x)
		case f.initial == "":
		case x.Kind() == reflect.Slice:
			x.Set(reflect.ValueOf(strings.Split(f.initial, ",")))
		default:
			initial, err := atoms[x.Type()](f.initial)
			if err != nil {
				panic("config: default of " + f.key + ": " + err.Error())
			}
			x.Set(reflect.ValueOf(initial))
		}
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
