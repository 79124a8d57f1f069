package server_test

import (
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/imidentity/issuer/internal/admin"
	"github.com/imidentity/issuer/types/api"
)

// Every route for operators is an operation of openapi-admin.yaml, with the parameters that the route knows, and every operation is a
// route.
func TestOperatorRoutesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../openapi-admin.yaml")
	if err != nil {
		t.Fatal(err)
	}
	type parameter struct {
		Ref  string `yaml:"$ref"`
		Name string `yaml:"name"`
		In   string `yaml:"in"`
	}
	var document struct {
		Paths map[string]map[string]struct {
			Parameters []parameter `yaml:"parameters"`
		} `yaml:"paths"`
		Components struct {
			Parameters map[string]parameter `yaml:"parameters"`
		} `yaml:"components"`
	}
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	var documented []string
	for path, item := range document.Paths {
		for method, operation := range item {
			line := strings.ToUpper(method) + " " + path
			var query []string
			for _, p := range operation.Parameters {
				if name, ok := strings.CutPrefix(p.Ref, "#/components/parameters/"); ok {
					p = document.Components.Parameters[name]
				}
				if p.In == "query" && p.Name != "domain" {
					query = append(query, p.Name)
				}
			}
			slices.Sort(query)
			documented = append(documented, strings.TrimSpace(line+" "+strings.Join(query, " ")))
		}
	}
	served := []string{"GET /.well-known/oauth-protected-resource"}
	for _, r := range new(admin.API).Routes() {
		query := slices.DeleteFunc(slices.Clone(r.Query), func(name string) bool { return name == "domain" })
		slices.Sort(query)
		served = append(served, strings.TrimSpace(r.Method+" "+r.Path+" "+strings.Join(query, " ")))
	}
	slices.Sort(documented)
	slices.Sort(served)
	if !slices.Equal(documented, served) {
		t.Errorf("openapi-admin.yaml describes\n%s\nand operators are served\n%s",
			strings.Join(documented, "\n"), strings.Join(served, "\n"))
	}
}

// TestOperatorSchemas holds the schemas of openapi-admin.yaml to the types of the answers and bodies: the same members, and required is
// what is always there.
func TestOperatorSchemas(t *testing.T) {
	text, err := os.ReadFile("../../openapi-admin.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Components struct {
			Schemas map[string]struct {
				Required   []string       `yaml:"required"`
				Properties map[string]any `yaml:"properties"`
			} `yaml:"schemas"`
		} `yaml:"components"`
	}
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	types := []reflect.Type{
		reflect.TypeFor[api.Error](), reflect.TypeFor[api.Backup](), reflect.TypeFor[api.Device](), reflect.TypeFor[api.User](),
		reflect.TypeFor[api.Person](), reflect.TypeFor[api.Link](), reflect.TypeFor[api.Handle](), reflect.TypeFor[api.Session](), reflect.TypeFor[api.Credential](),
		reflect.TypeFor[api.DisabledUser](), reflect.TypeFor[api.RemovedUser](), reflect.TypeFor[api.ErasedUser](),
		reflect.TypeFor[api.Export](), reflect.TypeFor[api.FoundUser](), reflect.TypeFor[api.ReleasedHandle](),
		reflect.TypeFor[api.Relinked](), reflect.TypeFor[api.Domain](), reflect.TypeFor[api.Client](), reflect.TypeFor[api.NewClient](),
		reflect.TypeFor[api.Release](), reflect.TypeFor[api.SCIM](), reflect.TypeFor[api.Key](), reflect.TypeFor[api.WireKey](), reflect.TypeFor[api.KeyChange](),
		reflect.TypeFor[api.ClusterSecret](), reflect.TypeFor[api.KeyEncryptionKey](), reflect.TypeFor[api.Statement](),
		reflect.TypeFor[api.NewStatement](),
	}
	for _, typ := range types {
		schema, ok := document.Components.Schemas[typ.Name()]
		if !ok {
			t.Errorf("openapi-admin.yaml lacks the schema %s", typ.Name())
			continue
		}
		delete(document.Components.Schemas, typ.Name())
		members, required := membersOf(typ)
		if got := slices.Sorted(maps.Keys(schema.Properties)); !slices.Equal(got, members) {
			t.Errorf("%s has the members %q, want %q", typ.Name(), got, members)
		}
		if got := slices.Sorted(slices.Values(schema.Required)); !slices.Equal(got, required) {
			t.Errorf("%s requires %q, want %q", typ.Name(), got, required)
		}
	}
	for name := range document.Components.Schemas {
		t.Errorf("openapi-admin.yaml has the schema %s, which is no type", name)
	}
}

// membersOf returns the members of the JSON of a type, and those that are always there, each in order.
func membersOf(t reflect.Type) (all, required []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			inner, must := membersOf(f.Type)
			all, required = append(all, inner...), append(required, must...)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		all = append(all, name)
		if options == "" {
			required = append(required, name)
		}
	}
	slices.Sort(all)
	slices.Sort(required)
	return all, required
}
