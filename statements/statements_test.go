package statements_test

import (
	"context"
	"crypto"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/internal/oautherror"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

const issuer = "https://id.example.com"

// jkt is the thumbprint of a device's key.
const jkt = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// nobody is an authority that knows no issuer.
type nobody struct{}

func (nobody) Key(context.Context, string, string) (crypto.PublicKey, string, error) {
	return nil, "", claims.ErrIssuer
}
func (nobody) Speaks(context.Context, string, string) error { return claims.ErrDomain }

// A world is a service on a real database, with a user who has logged in on a device.
type world struct {
	*statements.Service
	store *sqlite.Store
	user  storage.User
	who   statements.Holder
}

func newWorld(t *testing.T) *world {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w := &world{}
	var err error
	w.store, err = sqlite.Open(t.Context(), sqlitetest.Temporary(t), sqlite.Options{})
	check(err)
	t.Cleanup(func() { _ = w.store.Close() })
	domain, err := account.NewDomain("example.com", "generic", false, true, nil)
	check(err)
	accounts, err := account.New(account.Config{
		Store: w.store, Domains: []account.Domain{domain}, TokenLife: time.Minute, MaxDevices: 4, MaxStatements: 2,
	})
	check(err)
	ring, err := keys.OpenRing(t.Context(), w.store, keys.NewSealer([32]byte{1}), keys.RingConfig{})
	check(err)
	registry, err := clients.New(clients.Config{Issuer: issuer, Store: w.store, TokenLife: time.Minute})
	check(err)
	w.Service, err = statements.New(statements.Config{
		Issuer: issuer, Domains: []string{"example.com"}, Clients: registry, Store: w.store, Accounts: accounts, Keys: ring,
		Authority: nobody{}, Development: true, Life: time.Hour,
	})
	check(err)
	w.user, err = accounts.SignIn(t.Context(), account.SignIn{Domain: "example.com", Issuer: "https://login.example", Subject: "1", Handle: "alice"})
	check(err)
	device, err := accounts.DeviceFor(t.Context(), w.user, jkt)
	check(err)
	now := time.Now()
	w.who = statements.Holder{Domain: "example.com", User: w.user.ID, SID: "session"}
	w.update(t, func(ctx context.Context, tx storage.Tx) error {
		if _, err := accounts.BindDevice(ctx, tx, device); err != nil {
			return err
		}
		return tx.InsertGrant(ctx, storage.Grant{
			ID: "session", Domain: "example.com", User: w.user.ID, Device: device.ID, JKT: jkt, Gen: 1, CreatedAt: now,
			IdleAt: now.Add(time.Hour), ExpiresAt: now.Add(time.Hour),
		})
	})
	return w
}

func (w *world) update(t *testing.T, fn func(ctx context.Context, tx storage.Tx) error) {
	t.Helper()
	if err := w.store.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func wantRefused(t *testing.T, err error, code, says string) {
	t.Helper()
	var e *oautherror.Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Description, says) {
		t.Errorf("error = %v, want %s: %s", err, code, says)
	}
}

var grant = nested.Statement{Type: nested.TypeActor, Party: "bot", PartyIssuer: issuer, Scope: "im:handle"}

// TestMake holds a statement's way from its making to its withdrawal, and how many a user may have.
func TestMake(t *testing.T) {
	w := newWorld(t)
	made, err := w.Make(t.Context(), w.who, grant)
	if err != nil || made.Handle != "im:%40alice@example.com" || made.Issuer != issuer || made.Token == "" ||
		made.Expires.Sub(made.IssuedAt) != time.Hour {
		t.Fatalf("Make = %+v, %v, want a signed grant with the handle, for an hour", made, err)
	}
	if _, err := w.Make(t.Context(), w.who, grant); err != nil {
		t.Fatal(err)
	}
	_, err = w.Make(t.Context(), w.who, grant)
	wantRefused(t, err, "invalid_request", "as many active statements as allowed")

	list, next, err := w.Own(t.Context(), w.who, nested.TypeActor, "", 1)
	if err != nil || len(list) != 1 || next == "" {
		t.Errorf("Own = %v, %q, %v, want one of two statements", list, next, err)
	}
	_, _, err = w.Own(t.Context(), w.who, nested.TypeActor, "?", 1)
	wantRefused(t, err, "invalid_request", "The parameter cursor is malformed")
	if err := w.Withdraw(t.Context(), w.who, nested.TypeLink, made.JTI); !errors.Is(err, account.ErrNoStatement) {
		t.Errorf("Withdraw = %v, want none of that type", err)
	}
	if err := w.Withdraw(t.Context(), w.who, nested.TypeActor, made.JTI); err != nil {
		t.Fatal(err)
	}
	if err := w.Withdraw(t.Context(), w.who, nested.TypeActor, made.JTI); !errors.Is(err, account.ErrNoStatement) {
		t.Errorf("Withdraw = %v, want none that is active", err)
	}
	if list, err := w.List(t.Context(), "example.com", w.user.ID, "", 10); err != nil || len(list) != 1 {
		t.Errorf("List = %v, %v, want the other one", list, err)
	}
}

func TestMakeRefused(t *testing.T) {
	w := newWorld(t)
	other := w.who
	other.User = "somebody"
	for name, test := range map[string]struct {
		who        statements.Holder
		change     func(s *nested.Statement)
		code, says string
	}{
		"no session": {statements.Holder{Domain: "example.com", User: w.user.ID, SID: "none"}, nil, "access_denied",
			"whose session is alive"},
		"another's session":   {other, nil, "access_denied", "whose session is alive"},
		"a scope of the user": {w.who, func(s *nested.Statement) { s.Scope = "account" }, "invalid_scope", "An actor may have"},
		"no party": {w.who,
			func(s *nested.Statement) { s.PartyIssuer = "" }, "invalid_request", "The other party is not an identifier"},
		"the key of a device": {w.who, func(s *nested.Statement) {
			*s = nested.Statement{Type: nested.TypeDelegation, JKT: jkt, Limits: &nested.Limits{Devices: "*", Count: 1, Lifetime: time.Hour, Depth: 1}}
		}, "invalid_request", "The key of jkt is, or was, the key of a device"},
		"no statement at all": {w.who, func(s *nested.Statement) { s.Scope = "" }, "invalid_request", "The statement cannot be made"},
	} {
		t.Run(name, func(t *testing.T) {
			s := grant
			if test.change != nil {
				test.change(&s)
			}
			_, err := w.Make(t.Context(), test.who, s)
			wantRefused(t, err, test.code, test.says)
		})
	}
	w.update(t, func(ctx context.Context, tx storage.Tx) error {
		return tx.EndGrant(ctx, "session", time.Now(), "revoked")
	})
	_, err := w.Make(t.Context(), w.who, grant)
	wantRefused(t, err, "access_denied", "whose session is alive")
}

func TestAttestRefused(t *testing.T) {
	w := newWorld(t)
	subject := "im:" + w.user.ID + "@example.com;id-type=user"
	move := nested.Statement{Type: nested.TypeMove, Subject: subject, Party: "im:a11ce@new.example;id-type=user"}
	if made, err := w.Attest(t.Context(), move); err != nil || made.Subject != subject || made.Token == "" {
		t.Fatalf("Attest = %+v, %v, want a statement", made, err)
	}
	for name, test := range map[string]struct {
		change func(s *nested.Statement)
		says   string
	}{
		"no identifier": {func(s *nested.Statement) { s.Subject = "alice" }, "The subject is not an identifier"},
		"another domain": {func(s *nested.Statement) { s.Subject = "im:x@other.example;id-type=user" },
			"that this server does not issue in"},
		"nobody":         {func(s *nested.Statement) { s.Subject = "im:nobody@example.com;id-type=user" }, "There is no such user"},
		"the user's own": {func(s *nested.Statement) { s.Type = nested.TypeActor }, "Only the user can name their actors and keys."},
		"a handle never owned": {func(s *nested.Statement) { s.Type, s.OldHandle = nested.TypeRename, "im:%40bob@example.com" },
			"never had the old handle"},
	} {
		t.Run(name, func(t *testing.T) {
			s := move
			test.change(&s)
			_, err := w.Attest(t.Context(), s)
			wantRefused(t, err, "invalid_request", test.says)
		})
	}
	w.user.DisabledAt = time.Now()
	w.update(t, func(ctx context.Context, tx storage.Tx) error { return tx.UpdateUser(ctx, w.user) })
	_, err := w.Attest(t.Context(), move)
	wantRefused(t, err, "invalid_request", "The subject is disabled")
}
