package clients_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/internal/oautherror"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

const secret = "a secret: of+the%service"

// newRegistry returns a registry on an empty database, with a public client and one with a secret.
func newRegistry(t *testing.T, now func() time.Time, revoked func(...storage.Revocation)) (*clients.Registry, *sqlite.Store) {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlitetest.Temporary(t), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	r, err := clients.New(clients.Config{
		Issuer: "https://id.example.com", Store: store, TokenLife: time.Minute, Now: now, Revoked: revoked,
	})
	if err != nil {
		t.Fatal(err)
	}
	sum, old := sha256.Sum256([]byte(secret)), sha256.Sum256([]byte("old"))
	err = r.Set([]clients.Client{
		{ID: "app"},
		{ID: "service", SecretSHA256: sum[:], OldSecretSHA256: old[:], OldSecretUntil: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r, store
}

func basic(text string) http.Header {
	return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(text))}}
}

func TestAuthenticate(t *testing.T) {
	const (
		wrong     = "The client is unknown or its credentials are wrong."
		malformed = "The Authorization header is not well-formed HTTP Basic"
	)
	now := time.Date(2025, 12, 31, 0, 0, 0, 0, time.UTC)
	r, _ := newRegistry(t, func() time.Time { return now }, nil)
	form := func(id, secret string) url.Values { return url.Values{"client_id": {id}, "client_secret": {secret}} }
	escaped := "service:" + url.QueryEscape(secret)
	for name, test := range map[string]struct {
		header http.Header
		form   url.Values
		want   string // the client
		code   string // or the refusal
		says   string
		basic  bool // it challenges
	}{
		"public":                {form: url.Values{"client_id": {"app"}}, want: "app"},
		"secret in the form":    {form: form("service", secret), want: "service"},
		"old secret":            {form: form("service", "old"), want: "service"},
		"secret by Basic":       {header: basic(escaped), want: "service"},
		"Basic and the same id": {header: basic(escaped), form: url.Values{"client_id": {"service"}}, want: "service"},
		"unknown":               {form: form("nobody", secret), code: "invalid_client", says: wrong},
		"wrong secret":          {form: form("service", secret+"x"), code: "invalid_client", says: wrong},
		"empty secret":          {form: form("service", ""), code: "invalid_client", says: wrong},
		"no secret":             {form: url.Values{"client_id": {"service"}}, code: "invalid_client", says: wrong},
		"wrong secret by Basic": {header: basic("service:x"), code: "invalid_client", says: wrong, basic: true},
		"public with a secret":  {form: form("app", "x"), code: "invalid_client", says: wrong},
		"public by Basic":       {header: basic("app:"), code: "invalid_client", says: "registered without a secret", basic: true},
		"nobody":                {form: url.Values{}, code: "invalid_client", says: "The request names no client"},
		"Basic and another id":  {header: basic(escaped), form: url.Values{"client_id": {"app"}}, code: "invalid_request", says: "differ"},
		"Basic and a secret":    {header: basic(escaped), form: form("service", secret), code: "invalid_request", says: "authenticates twice"},
		"two headers": {header: http.Header{"Authorization": {"Basic eDp5",
			"Basic eDp5"}}, code: "invalid_request", says: "more than one"},
		"another scheme":           {header: http.Header{"Authorization": {"Bearer x"}}, code: "invalid_client", says: malformed, basic: true},
		"Basic that is not base64": {header: http.Header{"Authorization": {"Basic ?"}}, code: "invalid_client", says: malformed, basic: true},
		"Basic without a colon":    {header: basic("service"), code: "invalid_client", says: malformed, basic: true},
		"Basic with a stray %":     {header: basic("service:100%"), code: "invalid_client", says: malformed, basic: true},
		"half an assertion": {form: url.Values{"client_id": {"app"}, "client_assertion": {"x"}},
			code: "invalid_request", says: "client_assertion and client_assertion_type go together"},
		"assertion of another type": {form: url.Values{"client_assertion": {"x"}, "client_assertion_type": {"saml"}},
			code: "invalid_client", says: "The client_assertion_type must be"},
	} {
		t.Run(name, func(t *testing.T) {
			c, assertion, err := r.Authenticate(t.Context(), test.header, test.form)
			var e *oautherror.Error
			switch {
			case test.want != "":
				if err != nil || c.ID != test.want || assertion != nil {
					t.Errorf("Authenticate = %v, %v, %v, want %s", c, assertion, err, test.want)
				}
			case !errors.As(err, &e):
				t.Errorf("Authenticate = %v, %v, want %s", c, err, test.code)
			case e.Code != test.code || !strings.Contains(e.Description, test.says) || e.Basic != test.basic:
				t.Errorf("Authenticate = %+v, want %s: %s, with a challenge: %v", e, test.code, test.says, test.basic)
			}
		})
	}
	now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if _, _, err := r.Authenticate(t.Context(), nil, form("service", "old")); err == nil {
		t.Error("the old secret is valid after its time")
	}
}

// TestStored holds the life of a client in storage: it is added once, gets another secret, and is removed for ever.
func TestStored(t *testing.T) {
	var revoked []storage.Revocation
	r, store := newRegistry(t, nil, func(rows ...storage.Revocation) { revoked = append(revoked, rows...) })
	row, first, err := r.Add(t.Context(), "new", []byte("{}"), true)
	if sum := sha256.Sum256([]byte(first)); err != nil || string(row.Secret) != string(sum[:]) {
		t.Fatalf("Add = %+v, %v, want a client with the hash of its secret", row, err)
	}
	taken := (*clients.TakenError)(nil)
	if _, _, err := r.Add(t.Context(), "new", []byte("{}"), false); !errors.As(err, &taken) || !taken.RemovedAt.IsZero() {
		t.Errorf("Add = %v, want that the id is taken", err)
	}
	row, second, err := r.ReplaceSecret(t.Context(), "new", time.Hour)
	if err != nil || second == first || row.OldSecret == nil || row.OldUntil.IsZero() {
		t.Errorf("ReplaceSecret = %+v, %v, want another secret beside the old one", row, err)
	}
	if _, _, err := r.ReplaceSecret(t.Context(), "nobody", 0); !errors.Is(err, clients.ErrNotFound) {
		t.Errorf("ReplaceSecret = %v, want %v", err, clients.ErrNotFound)
	}
	if _, _, err := r.Add(t.Context(), "public", []byte("{}"), false); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.ReplaceSecret(t.Context(), "public", 0); !errors.Is(err, clients.ErrNoSecret) {
		t.Errorf("ReplaceSecret = %v, want %v", err, clients.ErrNoSecret)
	}

	served := &clients.Client{ID: "new", Stored: true}
	if err := served.Check(t.Context(), store); err != nil {
		t.Errorf("Check = %v, want nil", err)
	}
	for _, want := range []bool{true, false} {
		row, removed, err := r.Remove(t.Context(), "new", "test")
		if err != nil || removed != want || row.RemovedReason != "test" || row.Secret != nil || row.OldSecret != nil {
			t.Errorf("Remove = %+v, %v, %v, want removed: %v", row, removed, err, want)
		}
	}
	if len(revoked) != 1 || revoked[0].Kind != storage.RevokeClient || revoked[0].Key != "new" {
		t.Errorf("revoked = %+v, want the client, once", revoked)
	}
	if err := served.Check(t.Context(), store); !errors.Is(err, clients.ErrRemoved) {
		t.Errorf("Check = %v, want %v", err, clients.ErrRemoved)
	}
	if _, _, err := r.Add(t.Context(), "new", []byte("{}"), false); !errors.As(err, &taken) || taken.RemovedAt.IsZero() {
		t.Errorf("Add = %v, want that the id was removed", err)
	}
	if _, _, err := r.Remove(t.Context(), "nobody", ""); !errors.Is(err, clients.ErrNotFound) {
		t.Errorf("Remove = %v, want %v", err, clients.ErrNotFound)
	}
}
