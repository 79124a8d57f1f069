package client_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/issuer"
	"github.com/imidentity/issuer/types/api"
)

// run runs an issuer until the test ends, and returns its admin API.
func run(t *testing.T) client.Admin {
	t.Helper()
	cfg, err := config.Parse("settings.yaml", []byte(`
issuer: http://127.0.0.1:1
data: `+strconv.Quote(t.TempDir())+`
development: true
outbound: {allow_networks: [127.0.0.0/8]}
domains:
  - {name: example.com, system: wxyz, providers: [{id: corp, issuer: "http://127.0.0.1:1", client_id: issuer, authoritative_handles: true}]}
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	instance, err := issuer.Open(ctx, cfg, issuer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	public, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	socket, err := issuer.ListenAdmin(cfg.AdminSocket())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- instance.Serve(ctx, issuer.Listeners{Public: public, Admin: socket}) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
	return client.Socket(cfg.AdminSocket())
}

// TestAdminLists holds that a list has the same entries for every size of a page, and may be given up.
func TestAdminLists(t *testing.T) {
	admin := run(t)
	var want []string
	for i := range 5 {
		made, err := admin.MakeStatement(t.Context(), api.NewStatement{
			Type: "im-member+jwt", Subject: "im:wxyz=%23%23team@example.com", Member: "im:wxyz=%40alice@example.com", Role: strconv.Itoa(i),
			ExpiresIn: 3600,
		})
		if err != nil || made.Token == "" || made.Member != "im:wxyz=%40alice@example.com" {
			t.Fatalf("MakeStatement = %+v, %v", made, err)
		}
		if i == 0 {
			if err := admin.WithdrawStatement(t.Context(), "", made.ID, "left"); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want = append(want, made.ID)
	}
	slices.Sort(want)
	for size := range 6 { // 0 is the default
		var got []string
		for s, err := range admin.Statements(t.Context(), client.List{PageSize: size}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, s.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("statements in pages of %d = %v, want %v", size, got, want)
		}
	}
	for s, err := range admin.Statements(t.Context(), client.List{PageSize: 1, After: want[1]}) {
		if err != nil || s.ID != want[2] {
			t.Errorf("statement after %s = %s, %v, want %s", want[1], s.ID, err, want[2])
		}
		break
	}
	for d, err := range admin.Devices(t.Context(), client.List{}) {
		t.Errorf("device = %v, %v, want none", d, err)
	}
	for _, err := range admin.Users(t.Context(), client.List{Domain: "elsewhere.example"}) {
		if refused := (*client.Error)(nil); !errors.As(err, &refused) || refused.Status != http.StatusBadRequest {
			t.Errorf("users of another domain: %v, want status 400", err)
		}
	}
}

// TestAdminClients holds that a registration reads back as it was written, and that secrets are shown once.
func TestAdminClients(t *testing.T) {
	admin := run(t)
	registration := api.NewClient{
		ID: "rooms", Name: "Rooms", Auth: "secret", Grants: []string{"client_credentials"}, Scopes: []string{"introspect"},
		Domains: []string{"example.com"}, Resources: []string{"https://rooms.example.com"},
	}
	added, err := admin.AddClient(t.Context(), registration)
	if err != nil || added.Secret == "" || added.Source != api.SourceStorage {
		t.Fatalf("AddClient = %+v, %v", added, err)
	}
	replaced, err := admin.ReplaceSecret(t.Context(), "rooms", time.Hour)
	if err != nil || replaced.Secret == "" || replaced.Secret == added.Secret || replaced.OldSecretUntil == nil {
		t.Errorf("ReplaceSecret = %+v, %v", replaced, err)
	}
	k, err := admin.Client(t.Context(), "rooms")
	if err != nil || k.Secret != "" || k.Name != registration.Name || !slices.Equal(k.Scopes, registration.Scopes) ||
		!slices.Equal(k.Grants, registration.Grants) || !slices.Equal(k.Resources, registration.Resources) {
		t.Errorf("Client = %+v, %v, want %+v", k, err, registration)
	}
	if removed, err := admin.RemoveClient(t.Context(), "rooms", "closed"); err != nil || removed.RemovedReason != "closed" {
		t.Errorf("RemoveClient = %+v, %v", removed, err)
	}
	if list, err := admin.Clients(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("Clients = %+v, %v, want none", list, err)
	}
	var refused *client.Error
	if _, err := admin.AddClient(t.Context(), registration); !errors.As(err, &refused) || refused.Code != "client_taken" {
		t.Errorf("AddClient with the id of a removed client = %v, want client_taken", err)
	}
}
