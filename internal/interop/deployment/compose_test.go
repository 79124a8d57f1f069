package deployment

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// compose reads files of Compose as Compose does, by its schema.
func compose(t *testing.T, files ...string) (*types.Project, error) {
	t.Helper()
	folder, err := filepath.Abs(filepath.Join(root, "packaging"))
	if err != nil {
		t.Fatal(err)
	}
	details := types.ConfigDetails{WorkingDir: folder, Environment: types.Mapping{}}
	for i, text := range files {
		details.ConfigFiles = append(details.ConfigFiles, types.ConfigFile{Filename: filepath.Join(folder, string(rune('a'+i))+".yaml"), Content: []byte(text)})
	}
	return loader.LoadWithContext(t.Context(), details)
}

// TestCompose holds the files of Compose to its schema, alone and with Redis, and the nodes to what they need.
func TestCompose(t *testing.T) {
	t.Parallel()
	base, redis := read(t, "compose.yaml"), read(t, "compose.redis.yaml")
	for name, files := range map[string][]string{"alone": {base}, "with Redis": {base, redis}} {
		project, err := compose(t, files...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		named := make(map[string]bool)
		for _, node := range []string{"one", "two", "three"} {
			s, err := project.GetService(node)
			if err != nil {
				t.Fatal(err)
			}
			variable := s.Environment["ISSUER_AUDIT__NODE"]
			if variable == nil || named[*variable] {
				t.Errorf("%s: the node %s has no name of its own in the audit log", name, node)
			} else {
				named[*variable] = true
			}
			if s.User != "65532:65532" || !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || s.StopGracePeriod == nil {
				t.Errorf("%s: the node %s is not confined: %+v", name, node, s)
			}
			address := s.Networks["nodes"].Ipv4Address
			if got := strings.Count(read(t, "haproxy/haproxy.cfg"), " "+address+":8080 "); address == "" || got < 2 && !strings.Contains(read(t, "haproxy/haproxy.cfg"), address+":8080\n") {
				t.Errorf("%s: HAProxy does not know the address %q of %s", name, address, node)
			}
			var env []string
			for key, value := range s.Environment {
				env = append(env, key+"="+*value)
			}
			checkSettings(t, read(t, "compose/issuer.yaml"), "/run/secrets", env...)
			mounted := []string{}
			for _, secret := range s.Secrets {
				mounted = append(mounted, "/run/secrets/"+secret.Source)
			}
			for _, file := range regexp.MustCompile(`/run/secrets/[\w.-]+`).FindAllString(read(t, "compose/issuer.yaml")+strings.Join(env, "\n"), -1) {
				if !slices.Contains(mounted, file) {
					t.Errorf("%s: %s needs %s, which is not mounted", name, node, file)
				}
			}
		}
		for _, config := range project.Configs {
			if _, err := os.Stat(config.File); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if name == "with Redis" && !slices.Contains(project.Services["redis"].Command, "noeviction") {
			t.Error("Redis forgets spent proofs if memory is short")
		}
	}
	for wrong, text := range map[string]string{
		"a field that does not exist": strings.Replace(base, "read_only: true", "readonly: true", 1),
		"a wrong type":                strings.Replace(base, "read_only: true", "read_only: [true]", 1),
		"a service that is missing":   strings.Replace(base, "migrate: {condition", "migration: {condition", 1),
		"a secret that is missing":    strings.Replace(base, "  kek: {file: secrets/kek}\n", "", 1),
	} {
		if text == base {
			t.Errorf("%s: nothing is changed", wrong)
		} else if _, err := compose(t, text); err == nil {
			t.Errorf("%s is accepted", wrong)
		}
	}
}
