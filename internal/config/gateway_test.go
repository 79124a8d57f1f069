package config_test

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"

	"github.com/imidentity/issuer/internal/config"
	"github.com/rogpeppe/go-internal/txtar"
)

func (c settingsCase) loadGateway() (*config.Gateway, error) {
	return config.LoadGateway(filepath.Join(c.dir, "gateway.yaml"), c.env)
}

func TestGatewayGood(t *testing.T) {
	openCases(t, "testdata/gateway/good/*.txtar", func(t *testing.T, c settingsCase) {
		got, err := c.loadGateway()
		if err != nil {
			t.Fatalf("LoadGateway = %v, want no error", err)
		}
		text, err := json.MarshalIndent(got, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		c.compare(t, "want.json", string(text)+"\n")
	})
}

func TestGatewayBad(t *testing.T) {
	openCases(t, "testdata/gateway/bad/*.txtar", func(t *testing.T, c settingsCase) {
		got, err := c.loadGateway()
		if got != nil || err == nil {
			t.Fatalf("LoadGateway = %v, %v, want errors only", got, err)
		}
		if errs := (config.Errors)(nil); !errors.As(err, &errs) {
			t.Errorf("LoadGateway = %T, want config.Errors", err)
		}
		c.compare(t, "errors", err.Error()+"\n")
	})
}

// The secrets of the files are there for the gateway, and nowhere in the settings as they are printed.
func TestGatewaySecrets(t *testing.T) {
	openCases(t, "testdata/gateway/good/all.txtar", func(t *testing.T, c settingsCase) {
		g, err := c.loadGateway()
		if err != nil {
			t.Fatal(err)
		}
		if g.Secret == [32]byte{} || g.RedisURL == "" || g.Home.Secret != "" || g.Home.Key == nil || g.Identity.Key == nil {
			t.Errorf("LoadGateway = %+v, want the content of the files of secrets", g)
		}
		if want := filepath.Join(c.dir, "run/gateway.sock"); g.AdminSocket() != want {
			t.Errorf("AdminSocket = %s, want %s", g.AdminSocket(), want)
		}
	})
}

// ParseGateway returns settings or a list of errors, each with a place and a message, for any document.
func FuzzParseGateway(f *testing.F) {
	sources, _ := filepath.Glob("testdata/gateway/*/*.txtar")
	for _, source := range sources {
		archive, err := txtar.ParseFile(source)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			if file.Name == "gateway.yaml" {
				f.Add(file.Data, "GATEWAY_LOG__LEVEL=info")
			}
		}
	}
	f.Add([]byte(config.GatewayExample), "")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte, env string) {
		g, err := config.ParseGateway(filepath.Join(dir, "gateway.yaml"), data, []string{env})
		errs, _ := err.(config.Errors)
		if (g == nil) != (len(errs) > 0) {
			t.Fatalf("ParseGateway = %v, %v, want one of the two", g, err)
		}
		for _, e := range errs {
			if e.File == "" || e.Message == "" {
				t.Errorf("ParseGateway = %#v, want a place and a message", e)
			}
		}
	})
}
