package storagetest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

func testRecordsRoundTrip(t *testing.T, s storage.Store) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			write(t, s, func(ctx context.Context, tx storage.Tx) error {
				return errors.Join(k.insert(ctx, tx, k.name+"-a"), k.insert(ctx, tx, k.name+"-b"))
			})
			for _, name := range []string{k.name + "-a", k.name + "-b"} {
				if got, want, err := k.read(t.Context(), s, name); err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("read = %+v, %v, want %+v", got, err, want)
				}
			}
		})
	}
	got, err := s.DeviceByKey(t.Context(), domain, "jkt-Device-a")
	if want := device("Device-a"); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("DeviceByKey = %+v, %v, want %+v", got, err, want)
	}
}

func testTextRoundTrips(t *testing.T, s storage.Store) {
	for i, text := range []string{
		"", " ", `'; DROP TABLE users; --`, `"quoted" \back\slash`, "ünïcödé 🦊 \u200d זה", "line\nbreak\ttab", "a\x00b", "null",
		"%00%ff?&=+", "_%*[]", strings.Repeat("long ", 20_000),
	} {
		d := storage.Device{Domain: domain, ID: string(rune('a' + i)), JKT: string(rune('a' + i)), User: text, Name: text}
		l := login(d.ID)
		l.Request = map[string][]string{"p" + text: {text, text}}
		c := storage.Code{Hash: digest(d.ID), Scopes: []string{text, "x"}, Audience: []string{text}}
		write(t, s, func(ctx context.Context, tx storage.Tx) error {
			return errors.Join(tx.InsertDevice(ctx, d), tx.InsertLogin(ctx, l), tx.InsertCode(ctx, c))
		})
		if got, err := s.Device(t.Context(), domain, d.ID); err != nil || got != d {
			t.Errorf("Device = %+v, %v, want %+v", got, err, d)
		}
		if got, err := s.Login(t.Context(), l.State); err != nil || !reflect.DeepEqual(got, l) {
			t.Errorf("Login = %+v, %v, want %+v", got, err, l)
		}
		if got, err := s.Code(t.Context(), c.Hash); err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("Code = %+v, %v, want %+v", got, err, c)
		}
	}
}

func testTimesRoundTrip(t *testing.T, s storage.Store) {
	for i, test := range []struct{ in, want time.Time }{
		{time.Time{}, time.Time{}},
		{at, at},
		{at.In(time.FixedZone("east", 9*3600)), at},
		{at.Add(999_999 * time.Nanosecond), at},
		{time.Date(9999, 12, 31, 23, 59, 59, 999_000_000, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999_000_000, time.UTC)},
		{time.Date(1969, 7, 20, 20, 17, 40, 1_000_000, time.UTC), time.Date(1969, 7, 20, 20, 17, 40, 1_000_000, time.UTC)},
	} {
		u := storage.User{Domain: domain, ID: string(rune('a' + i)), CreatedAt: test.in, DisabledAt: test.in}
		write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.InsertUser(ctx, u) })
		got, err := s.User(t.Context(), domain, u.ID)
		if err != nil || got.CreatedAt != test.want || got.DisabledAt != test.want {
			t.Errorf("User = %v, %v, %v, want the time %v", got.CreatedAt, got.DisabledAt, err, test.want)
		}
	}
}

func testReadsFindNothing(t *testing.T, s storage.Store) {
	check := func(t *testing.T, r storage.Reader) {
		for _, k := range kinds {
			if _, _, err := k.read(t.Context(), r, "nobody"); err != storage.ErrNotFound {
				t.Errorf("%s: read = %v, want %v", k.name, err, storage.ErrNotFound)
			}
		}
		if _, err := r.Secret(t.Context(), "nobody"); err != storage.ErrNotFound {
			t.Errorf("Secret = %v, want %v", err, storage.ErrNotFound)
		}
		if _, err := r.DeviceByKey(t.Context(), domain, "nobody"); err != storage.ErrNotFound {
			t.Errorf("DeviceByKey = %v, want %v", err, storage.ErrNotFound)
		}
		if got, err := r.Devices(t.Context(), domain, "nobody"); err != nil || len(got) != 0 {
			t.Errorf("Devices = %v, %v, want none", got, err)
		}
		if got, err := r.Statements(t.Context(), domain, "nobody"); err != nil || len(got) != 0 {
			t.Errorf("Statements = %v, %v, want none", got, err)
		}
		if got, err := r.Clients(t.Context(), 0); err != nil || len(got) != 0 {
			t.Errorf("Clients = %v, %v, want none", got, err)
		}
		if _, err := r.Revocation(t.Context(), storage.RevokeToken, "nobody"); err != storage.ErrNotFound {
			t.Errorf("Revocation = %v, want %v", err, storage.ErrNotFound)
		}
		if got, err := r.Users(t.Context(), domain, "", 10); err != nil || len(got) != 0 {
			t.Errorf("Users = %v, %v, want none", got, err)
		}
		if got, err := r.Links(t.Context(), domain, "nobody"); err != nil || len(got) != 0 {
			t.Errorf("Links = %v, %v, want none", got, err)
		}
		if got, err := r.Names(t.Context(), domain, "nobody"); err != nil || len(got) != 0 {
			t.Errorf("Names = %v, %v, want none", got, err)
		}
		if got, err := r.Grants(t.Context(), domain, "nobody"); err != nil || len(got) != 0 {
			t.Errorf("Grants = %v, %v, want none", got, err)
		}
		if got, last, err := r.Revocations(t.Context(), 0, 0); err != nil || len(got) != 0 || last != 0 {
			t.Errorf("Revocations = %v, %d, %v, want none", got, last, err)
		}
	}
	t.Run("Store", func(t *testing.T) { check(t, s) })
	t.Run("Tx", func(t *testing.T) {
		write(t, s, func(_ context.Context, tx storage.Tx) error {
			check(t, tx)
			return nil
		})
	})
}

func testInsertsConflict(t *testing.T, s storage.Store) {
	for _, k := range kinds {
		insert := func(ctx context.Context, tx storage.Tx) error { return k.insert(ctx, tx, k.name) }
		write(t, s, insert)
		if err := s.Update(t.Context(), insert); err != storage.ErrConflict {
			t.Errorf("%s: second insert = %v, want %v", k.name, err, storage.ErrConflict)
		}
	}
}

func testUpdatesWriteAllButTheKey(t *testing.T, s storage.Store) {
	for _, k := range kinds {
		if k.change == nil {
			continue
		}
		write(t, s, func(ctx context.Context, tx storage.Tx) error {
			return errors.Join(k.insert(ctx, tx, k.name+"-a"), k.insert(ctx, tx, k.name+"-b"))
		})
		write(t, s, func(ctx context.Context, tx storage.Tx) error { return k.change(ctx, tx, k.name+"-a") })
		if got, want, err := k.changed(t.Context(), s, k.name+"-a"); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: read = %+v, %v, want %+v", k.name, got, err, want)
		}
		if got, want, err := k.read(t.Context(), s, k.name+"-b"); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: read of another = %+v, %v, want %+v", k.name, got, err, want)
		}
	}
}

func testUpdatesFindNothing(t *testing.T, s storage.Store) {
	for _, k := range kinds {
		if k.change == nil {
			continue
		}
		err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return k.change(ctx, tx, "nobody") })
		if err != storage.ErrNotFound {
			t.Errorf("%s: update = %v, want %v", k.name, err, storage.ErrNotFound)
		}
	}
}

func testDomainsAreApart(t *testing.T, s storage.Store) {
	for i, d := range []string{"a.example", "b.example"} {
		write(t, s, func(ctx context.Context, tx storage.Tx) error {
			u, l, n, v := user("alice"), link("alice"), nameOf("alice"), device("alice")
			u.Domain, l.Domain, n.Domain, v.Domain = d, d, d, d
			u.Gen = int64(i)
			return errors.Join(tx.InsertUser(ctx, u), tx.InsertLink(ctx, l), tx.InsertName(ctx, n), tx.InsertDevice(ctx, v))
		})
	}
	for i, d := range []string{"a.example", "b.example"} {
		if u, err := s.LinkedUser(t.Context(), d, "https://login.example.com", "subject-alice"); err != nil || u.Gen != int64(i) {
			t.Errorf("LinkedUser in %s = %+v, %v, want Gen %d", d, u, err, i)
		}
		if n, err := s.Name(t.Context(), d, "key-alice"); err != nil || n.Domain != d {
			t.Errorf("Name in %s = %+v, %v", d, n, err)
		}
		if v, err := s.DeviceByKey(t.Context(), d, "jkt-alice"); err != nil || v.Domain != d {
			t.Errorf("DeviceByKey in %s = %+v, %v", d, v, err)
		}
		if v, err := s.Devices(t.Context(), d, ""); err != nil || len(v) != 1 || v[0].Domain != d {
			t.Errorf("Devices in %s = %+v, %v, want one", d, v, err)
		}
	}
	if _, err := s.User(t.Context(), "c.example", "user-alice"); err != storage.ErrNotFound {
		t.Errorf("User in a third domain = %v, want %v", err, storage.ErrNotFound)
	}
}

func testSecretIsReplaced(t *testing.T, s storage.Store) {
	for _, want := range []string{"first", "second \x00\xff"} {
		write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.PutSecret(ctx, "cluster", []byte(want)) })
		if got, err := s.Secret(t.Context(), "cluster"); err != nil || string(got) != want {
			t.Errorf("Secret = %q, %v, want %q", got, err, want)
		}
	}
}

func testSecretsAreListedAndDeleted(t *testing.T, s storage.Store) {
	list := func(want ...string) {
		t.Helper()
		got, err := s.Secrets(t.Context())
		var names []string
		for _, secret := range got {
			names = append(names, secret.Name)
			if string(secret.Sealed) != "sealed "+secret.Name {
				t.Errorf("the secret %s is %q", secret.Name, secret.Sealed)
			}
		}
		if err != nil || !slices.Equal(names, want) {
			t.Errorf("Secrets = %q, %v, want %q", names, err, want)
		}
	}
	list()
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		for _, name := range []string{"b", "a/2", "B", "a", "a/10"} {
			if err := tx.PutSecret(ctx, name, []byte("sealed "+name)); err != nil {
				return err
			}
		}
		return nil
	})
	list("B", "a", "a/10", "a/2", "b")
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		if err := tx.DeleteSecret(ctx, "none"); err != storage.ErrNotFound {
			t.Errorf("DeleteSecret = %v, want %v", err, storage.ErrNotFound)
		}
		return tx.DeleteSecret(ctx, "a/10")
	})
	list("B", "a", "a/2", "b")
}

func testListsAreOldestFirst(t *testing.T, s storage.Store) {
	ages := map[string]time.Duration{"c": 3 * time.Hour, "a": time.Hour, "b": 2 * time.Hour}
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		for name, age := range ages {
			k, d := secretKey(name), device(name)
			k.CreatedAt, d.CreatedAt, d.User = at.Add(age), at.Add(age), "alice"
			if err := errors.Join(tx.InsertSigningKey(ctx, k), tx.InsertDevice(ctx, d)); err != nil {
				return err
			}
		}
		other := device("d")
		other.CreatedAt = at
		return tx.InsertDevice(ctx, other)
	})

	var kids []string
	keys, err := s.SigningKeys(t.Context())
	for _, k := range keys {
		kids = append(kids, k.KID)
	}
	if want := []string{"a", "b", "c"}; err != nil || !slices.Equal(kids, want) {
		t.Errorf("SigningKeys = %v, %v, want %v", kids, err, want)
	}
	for user, want := range map[string][]string{
		"":      {"device-d", "device-a", "device-b", "device-c"},
		"alice": {"device-a", "device-b", "device-c"},
	} {
		var ids []string
		devices, err := s.Devices(t.Context(), domain, user)
		for _, d := range devices {
			ids = append(ids, d.ID)
		}
		if err != nil || !slices.Equal(ids, want) {
			t.Errorf("Devices of %q = %v, %v, want %v", user, ids, err, want)
		}
	}
}
