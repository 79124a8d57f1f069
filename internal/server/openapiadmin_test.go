package server_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/imidentity/issuer/internal/admin"
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
