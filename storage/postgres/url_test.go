package postgres_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/postgres"
)

// TestParseURL: what leaves the machine is encrypted and the name of the server verified, unless the URL says otherwise.
func TestParseURL(t *testing.T) {
	for url, want := range map[string]string{ // the name that the certificate must have; "" if it is not checked
		"postgres://u:p@db.example.com/issuer":                                      "db.example.com",
		"postgresql://u:p@db.example.com:5433/issuer":                               "db.example.com",
		"postgres://u:p@192.0.2.1/issuer":                                           "192.0.2.1",
		"postgres://u:p@db.example.com/issuer?sslmode=require":                      "",
		"postgres://u:p@a.example.com,b.example.com/issuer?sslmode=verify-full":     "a.example.com",
		"postgres://u@localhost/issuer":                                             "",
		"postgres://u@[::1]:5432/issuer":                                            "",
		"postgres://u@127.0.0.1/issuer?sslmode=disable":                             "",
		"postgres://u@/issuer?host=/run/postgresql":                                 "",
		"postgres://u@/issuer?host=db.example.com":                                  "db.example.com",
		"postgres://u@a.example.com/issuer?target_session_attrs=read-write":         "a.example.com",
		"postgres://u@127.0.0.1,db.example.com/issuer":                              "127.0.0.1",
		"postgres://u@db.example.com/issuer?sslmode=verify-full&application_name=x": "db.example.com",
	} {
		cfg, err := postgres.ParseURL(url)
		if err != nil {
			t.Errorf("ParseURL(%s) = %v", url, err)
			continue
		}
		got := ""
		if c := cfg.ConnConfig.TLSConfig; c != nil && !c.InsecureSkipVerify {
			got = c.ServerName
		}
		if got != want {
			t.Errorf("%s: the certificate must have the name %q, want %q", url, got, want)
		}
		for _, f := range cfg.ConnConfig.Fallbacks {
			if want != "" && f.TLSConfig == nil {
				t.Errorf("%s falls back to no TLS", url)
			}
		}
	}
}

// TestURLErrors: each error says what is wrong, and none has the password.
func TestURLErrors(t *testing.T) {
	for url, want := range map[string]string{
		"":                                                          "postgres://",
		"mysql://u:secret@h/d":                                      "postgres://",
		"host=h user=u password=secret dbname=d":                    "postgres://",
		"postgres://u:secret@/d":                                    "no host",
		"postgres://u:secret@h":                                     "no database",
		"postgres://u:secret@h/":                                    "no database",
		"postgres://u:sec#ret-secret@h/d":                           "%XX",
		"postgres://u:secret/x@h/d":                                 "%XX",
		"postgres://u:secret%zz@h/d":                                "not valid",
		"postgres://u:secret@h:port/d":                              "%XX",
		"postgres://u:secret@h/d?sslmode=disable":                   "sslmode=disable",
		"postgres://u:secret@h/d?sslmode=prefer":                    "sslmode=prefer",
		"postgres://u:secret@h/d?sslmode=allow":                     "sslmode=allow",
		"postgres://u:secret@127.0.0.1,h/d?sslmode=disable":         "sslmode=disable",
		"postgres://u:secret@h/d?sslmode=never":                     "sslmode",
		"postgres://u:secret@h/d?sslmode=verify-full&sslmode=allow": "more than once",
		"postgres://u:secret@h/d?pool_max_conns=1000":               "pool_max_conns",
		"postgres://u:secret@h/d?sslrootcert=/there/is/none":        "/there/is/none",
		"postgres://u:secret@h/d?connect_timeout=soon":              "connect_timeout",
		"postgres://u:secret@h/d?a=%zz":                             "%25",
	} {
		_, err := postgres.ParseURL(url)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseURL(%s) = %v, want an error with %q", url, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error has the password: %v", err)
		}
	}
}

// TestOpenErrors: each error of opening says what to do, and whether it may work later.
func TestOpenErrors(t *testing.T) {
	s := shared(t)
	url := database(t)
	for _, test := range []struct {
		name, url, want string
		is              error
	}{
		{"no server", "postgres://u:secret@127.0.0.1:1/d", "does not answer", storage.ErrUnavailable},
		{"no socket", "postgres://u:secret@/d?host=/there/is/none", "does not answer", storage.ErrUnavailable},
		{"no database", s.URL("there_is_none"), "create it", nil},
		{"no user", strings.Replace(url, "issuer@", "somebody:secret@", 1), "refuses the user", nil},
		{"not migrated", s.URL("postgres"), "issuer migrate up", postgres.ErrSchemaOlder},
	} {
		_, err := postgres.Open(t.Context(), test.url, postgres.Options{})
		if err == nil || !strings.Contains(err.Error(), test.want) || test.is != nil && !errors.Is(err, test.is) ||
			test.is == nil && errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s: Open = %v, want an error with %q that is %v", test.name, err, test.want, test.is)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error has the password: %v", err)
		}
	}
}

// TestSchemaOfAnotherRelease: a release works with the schema of a newer one until a migration takes away what it needs.
func TestSchemaOfAnotherRelease(t *testing.T) {
	url := database(t)
	for _, test := range []struct {
		change string
		want   error
	}{
		{"INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)", nil},
		{"UPDATE schema_compatibility SET oldest = 9999", storage.ErrSchemaNewer},
		{"UPDATE schema_compatibility SET oldest = 1", nil},
		{"DELETE FROM goose_db_version WHERE version_id = 9999", nil},
		{"UPDATE goose_db_version SET version_id = -version_id WHERE version_id = (SELECT max(version_id) FROM goose_db_version)", postgres.ErrSchemaOlder},
		{"UPDATE goose_db_version SET version_id = -version_id WHERE version_id < 0", nil},
	} {
		execute(t, url, test.change)
		s, err := postgres.Open(t.Context(), url, postgres.Options{})
		if !errors.Is(err, test.want) {
			t.Errorf("after %s: Open = %v, want %v", test.change, err, test.want)
		}
		if err == nil {
			s.Close()
		}
	}
	if done, err := postgres.Migrate(t.Context(), url); err != nil || len(done) != 0 {
		t.Errorf("Migrate = %v, %v, want nothing to do", done, err)
	}
	list, err := postgres.Migrations(t.Context(), url)
	if err != nil || len(list) == 0 || !list[0].Applied {
		t.Errorf("Migrations = %v, %v", list, err)
	}
}
