package config_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/config"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write what Load returns into the test data")

// A settingsCase is an archive of testdata, unpacked into a folder of its own.
type settingsCase struct {
	archive *txtar.Archive
	source  string
	dir     string
	env     []string
}

// openCases runs test for every archive that matches pattern. Files have the mode of secrets, except those called *.open.
func openCases(t *testing.T, pattern string, test func(t *testing.T, c settingsCase)) {
	sources, err := filepath.Glob(pattern)
	if err != nil || len(sources) == 0 {
		t.Fatalf("Glob(%q) = %v, %v, want files", pattern, sources, err)
	}
	for _, source := range sources {
		t.Run(strings.TrimSuffix(filepath.Base(source), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(source)
			if err != nil {
				t.Fatal(err)
			}
			c := settingsCase{archive: archive, source: source, dir: t.TempDir()}
			for _, f := range archive.Files {
				if f.Name == "env" {
					c.env = strings.Split(strings.TrimSpace(string(f.Data)), "\n")
				}
				mode := os.FileMode(0o600)
				if strings.HasSuffix(f.Name, ".open") {
					mode = 0o644
				}
				path := filepath.Join(c.dir, f.Name)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, f.Data, mode); err != nil {
					t.Fatal(err)
				}
			}
			test(t, c)
		})
	}
}

func (c settingsCase) load() (*config.Config, error) {
	return config.Load(filepath.Join(c.dir, "issuer.yaml"), c.env)
}

// compare compares got, without the folder's name, with the archive's last file, which is called name.
func (c settingsCase) compare(t *testing.T, name, got string) {
	t.Helper()
	got = strings.ReplaceAll(got, c.dir, "DIR")
	files := c.archive.Files
	if n := len(files); n == 0 || files[n-1].Name != name {
		files = append(files, txtar.File{Name: name})
	}
	last := &files[len(files)-1]
	if *update {
		last.Data = []byte(got)
		c.archive.Files = files
		if err := os.WriteFile(c.source, txtar.Format(c.archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := string(last.Data); got != want {
		t.Errorf("Load =\n%s\nwant\n%s", got, want)
	}
}

func TestGood(t *testing.T) {
	openCases(t, "testdata/good/*.txtar", func(t *testing.T, c settingsCase) {
		got, err := c.load()
		if err != nil {
			t.Fatalf("Load = %v, want no error", err)
		}
		text, err := json.MarshalIndent(got, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		c.compare(t, "want.json", string(text)+"\n")
	})
}

func TestBad(t *testing.T) {
	openCases(t, "testdata/bad/*.txtar", func(t *testing.T, c settingsCase) {
		got, err := c.load()
		if got != nil || err == nil {
			t.Fatalf("Load = %v, %v, want errors only", got, err)
		}
		if errs := (config.Errors)(nil); !errors.As(err, &errs) {
			t.Errorf("Load = %T, want config.Errors", err)
		}
		c.compare(t, "errors", err.Error()+"\n")
	})
}

func TestLoadMissing(t *testing.T) {
	_, err := config.Load("testdata/nowhere.yaml", nil)
	if want := "testdata/nowhere.yaml: cannot be read: no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("Load = %v, want %v", err, want)
	}
}

func TestPlaces(t *testing.T) {
	openCases(t, "testdata/good/all.txtar", func(t *testing.T, c settingsCase) {
		got, err := c.load()
		if err != nil {
			t.Fatal(err)
		}
		if want := filepath.Join(c.dir, "run/admin.sock"); got.AdminSocket() != want {
			t.Errorf("AdminSocket = %v, want %v", got.AdminSocket(), want)
		}
		if want := filepath.Join(c.dir, "db/issuer.db"); got.Database() != want {
			t.Errorf("Database = %v, want %v", got.Database(), want)
		}
		if got := string(got.Domains[0].Providers[0].ClientSecret); got != "s3cret" {
			t.Errorf("ClientSecret = %q, want the content of the file without its line end", got)
		}
	})
}

func TestSecretIsNotPrinted(t *testing.T) {
	provider := config.Provider{ID: "corp", ClientSecret: "s3cret"}
	var b strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		fmt.Fprintf(&b, verb, provider)
		fmt.Fprintf(&b, verb, provider.ClientSecret)
	}
	slog.New(slog.NewTextHandler(&b, nil)).Info("", "provider", provider, "secret", provider.ClientSecret)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("", "provider", provider, "secret", provider.ClientSecret)
	if got := b.String(); strings.Contains(got, "s3cret") || strings.Contains(got, "733363726574") {
		t.Errorf("printed %s, want no secret", got)
	}
}

// Parse returns settings or a list of errors, each with a place and a message, for any document. It never panics.
func FuzzParse(f *testing.F) {
	sources, _ := filepath.Glob("testdata/*/*.txtar")
	for _, source := range sources {
		archive, err := txtar.ParseFile(source)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			if file.Name == "issuer.yaml" {
				f.Add(file.Data, "ISSUER_LOG__LEVEL=info")
			}
		}
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte, env string) {
		c, err := config.Parse(filepath.Join(dir, "issuer.yaml"), data, []string{env})
		if (c == nil) == (err == nil) {
			t.Fatalf("Parse = %v, %v, want one of the two", c, err)
		}
		errs, _ := err.(config.Errors)
		if err != nil && len(errs) == 0 {
			t.Errorf("Parse = %#v, want config.Errors", err)
		}
		for _, e := range errs {
			if e.File == "" || e.Message == "" {
				t.Errorf("Parse = %#v, want a place and a message", e)
			}
		}
	})
}
