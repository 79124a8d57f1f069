package storagetest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"net/url"
	"time"

	"github.com/imidentity/issuer/storage"
)

// at is the present of the tests; no store reads the clock.
var at = time.Date(2026, 3, 14, 15, 9, 26, 535_000_000, time.UTC)

const domain = "example.com"

func digest(name string) [32]byte { return sha256.Sum256([]byte(name)) }

// The fixtures are records with every field set. Those of different names differ.

func secretKey(name string) storage.SigningKey {
	return storage.SigningKey{KID: name, Alg: "ES256", Sealed: []byte("sealed " + name), Public: []byte(`{"kty":"EC"}`),
		CreatedAt: at, ActiveAt: at.Add(time.Hour), RetiredAt: at.Add(2 * time.Hour), RevokedAt: at.Add(3 * time.Hour),
		RevokedReason: "leaked", Life: 90*24*time.Hour + time.Millisecond}
}

func user(name string) storage.User {
	return storage.User{Domain: domain, ID: "user-" + name, Handle: name, Gen: 3, CreatedAt: at,
		DisabledAt: at.Add(time.Hour), Findable: true}
}

func link(name string) storage.Link {
	return storage.Link{Domain: domain, Issuer: "https://login.example.com", Subject: "subject-" + name,
		User: "user-" + name, CreatedAt: at}
}

func nameOf(name string) storage.Name {
	return storage.Name{Domain: domain, Key: "key-" + name, Tables: "tables-" + name, Local: name, User: "user-" + name, TakenAt: at,
		ReleasedAt: at.Add(time.Hour)}
}

func device(name string) storage.Device {
	return storage.Device{Domain: domain, ID: "device-" + name, User: "user-" + name, JKT: "jkt-" + name, Alg: "alg-" + name,
		Name: "phone of " + name, Client: "im-app", Platform: "android", CreatedAt: at, RemovedAt: at.Add(time.Hour), RemovedReason: "lost",
		Delegation: "delegation-" + name, Number: 2}
}

// liveGrant returns a grant of refresh generation 7 that has not ended and expires in more than a day.
func liveGrant(name string) storage.Grant {
	return storage.Grant{ID: "grant-" + name, Domain: domain, Client: "im-app", User: "user-" + name,
		Device: "device-" + name, JKT: "jkt-" + name, Scopes: []string{"im:handle", "im:device"},
		Audience: []string{"im:example.com", "https://api.example.com"}, Issuer: "https://login.example.com",
		UpstreamSID: "upstream-" + name, AuthTime: at.Add(-time.Minute), ACR: "urn:acr:2", AMR: []string{"pwd", "otp"},
		UpstreamToken: "token-" + name, Gen: 7, RotatedAt: at.Add(-time.Second), CreatedAt: at, IdleAt: at.Add(24 * time.Hour),
		ExpiresAt: at.Add(48 * time.Hour)}
}

func endedGrant(name string) storage.Grant {
	g := liveGrant(name)
	g.EndedAt, g.EndedReason = at.Add(time.Minute), "logout"
	g.Status = storage.StatusEntry{List: statusList(name).ID, Index: storage.MaxStatusListSize - 1}
	return g
}

func freshCode(name string) storage.Code {
	return storage.Code{Hash: digest("code " + name), Domain: domain, Client: "im-app", User: "user-" + name,
		RedirectURI: "http://127.0.0.1:4711/callback", RedirectGiven: true, Challenge: "challenge-" + name,
		JKT: "jkt-" + name, DeviceName: "phone of " + name, Platform: "ios", Scopes: []string{"im:handle"},
		Audience: []string{"im:example.com"}, Issuer: "https://login.example.com", UpstreamSID: "upstream-" + name,
		AuthTime: at.Add(-time.Minute), ACR: "urn:acr:2", AMR: []string{"pwd"},
		UpstreamToken: "token-" + name, CreatedAt: at, ExpiresAt: at.Add(time.Minute)}
}

func spentCode(name string) storage.Code {
	c := freshCode(name)
	c.SpentAt, c.Grant = at.Add(time.Second), "grant-"+name
	return c
}

func login(name string) storage.Login {
	return storage.Login{State: digest("state " + name), Browser: digest("browser " + name), Domain: domain,
		Provider: "main", Nonce: "nonce-" + name, Verifier: "verifier-" + name,
		Request:   url.Values{"client_id": {"im-app"}, "resource": {"im:example.com", "https://api.example.com/?a=b&c"}},
		Person:    []byte(`{"sub":"` + name + `"}`),
		CreatedAt: at, ExpiresAt: at.Add(10 * time.Minute)}
}

func browserSession(name string) storage.BrowserSession {
	return storage.BrowserSession{Hash: digest("browser session " + name), Domain: domain, User: "user-" + name, Provider: "main",
		Issuer: "https://login.example.com", UpstreamSID: "upstream-" + name, AuthTime: at.Add(-time.Minute), ACR: "urn:acr:2",
		AMR: []string{"pwd", "otp"}, UpstreamToken: "token-" + name, CreatedAt: at, UsedAt: at.Add(time.Second),
		IdleAt:    at.Add(15 * time.Minute),
		ExpiresAt: at.Add(time.Hour)}
}

func pushed(name string) storage.Pushed {
	return storage.Pushed{URI: digest("uri " + name), Client: "im-app", ExpiresAt: at.Add(time.Minute),
		Request: url.Values{"client_id": {"im-app"}, "resource": {"im:example.com", "https://api.example.com/?a=b&c"}}}
}

func statement(name string) storage.Statement {
	return storage.Statement{JTI: "jti-" + name, Domain: domain, User: "user-" + name, Device: "device-" + name, Type: "im-actor+jwt",
		Claims: []byte(`{"jti":"` + name + `"}`), Gen: 3, TellsHandle: true, JKT: "jkt-" + name,
		CreatedAt: at, ExpiresAt: at.Add(time.Hour), WithdrawnAt: at.Add(time.Minute),
		WithdrawnReason: "withdrawn by " + name}
}

func signedDocument(name string) storage.SignedDocument {
	return storage.SignedDocument{Domain: domain, User: "user-" + name, Kind: storage.DocumentKeys, Seq: 7, Content: "eyJ." + name,
		CreatedAt: at, ChangedAt: at.Add(time.Minute), ExpiresAt: at.Add(time.Hour)}
}

func client(name string) storage.Client {
	return storage.Client{ID: "client/" + name, Registration: []byte(`{"id":"` + name + `"}`), Secret: []byte("secret " + name),
		OldSecret: []byte("old secret " + name), OldUntil: at.Add(time.Hour),
		RegisteredWith: "with " + name, ManagedBy: []byte("token " + name), CreatedAt: at, RemovedAt: at.Add(time.Minute),
		RemovedReason: "gone " + name}
}

func statusList(name string) storage.StatusList {
	id := digest("status list " + name)
	return storage.StatusList{ID: 1 + int64(binary.BigEndian.Uint64(id[:])%storage.MaxStatusListID), Domain: domain,
		Seed: digest("seed " + name), Size: 1 << 17, Available: 1000, Used: 10, CreatedAt: at,
		ExpiresAt: at.Add(24 * time.Hour), EndedAt: at.Add(time.Hour)}
}

// clientOf reads a client without its number, which the store gives.
func clientOf(ctx context.Context, r storage.Reader, name string) (storage.Client, error) {
	c, err := r.Client(ctx, "client/"+name)
	c.Seq = 0
	return c, err
}

func revocation(kind storage.RevocationKind, key string) storage.Revocation {
	return storage.Revocation{Kind: kind, Key: key, Reason: "test", At: at, ExpiresAt: at.Add(time.Hour)}
}

// A kind is a kind of record, with functions that take its name.
type kind struct {
	name   string
	insert func(ctx context.Context, tx storage.Tx, name string) error
	// read returns the stored record and the record that insert should have written.
	read func(ctx context.Context, r storage.Reader, name string) (got, want any, err error)
	// change writes another record under the same key; nil if no method writes a whole record.
	change  func(ctx context.Context, tx storage.Tx, name string) error
	changed func(ctx context.Context, r storage.Reader, name string) (got, want any, err error)
}

// kinds are the records that have a key of their own. Records of different names do not collide.
var kinds = []kind{
	{
		name: "SigningKey",
		insert: func(ctx context.Context, tx storage.Tx, name string) error {
			return tx.InsertSigningKey(ctx, secretKey(name))
		},
		read: func(ctx context.Context, r storage.Reader, name string) (any, any, error) {
			got, err := signingKey(ctx, r, name)
			return got, secretKey(name), err
		},
		change: func(ctx context.Context, tx storage.Tx, name string) error {
			return tx.UpdateSigningKey(ctx, otherKey(name))
		},
		changed: func(ctx context.Context, r storage.Reader, name string) (any, any, error) {
			got, err := signingKey(ctx, r, name)
			return got, otherKey(name), err
		},
	},
	{
		name:   "User",
		insert: func(ctx context.Context, tx storage.Tx, name string) error { return tx.InsertUser(ctx, user(name)) },
		read: func(ctx context.Context, r storage.Reader, name string) (any, any, error) {
			got, err := r.User(ctx, domain, "user-"+name)
			return got, user(name), err
		},
		change: func(ctx context.Context, tx storage.Tx, name string) error {
			return tx.UpdateUser(ctx, otherUser(name))
		},
		changed: func(ctx context.Context, r storage.Reader, name string) (any, any, error) {
			got, err := r.User(ctx, domain, "user-"+name)
			return got, otherUser(name), err
		},
	},
	{
		name: "Link",
		insert: func(ctx context.Context, tx storage.Tx, name string) error {
			if _, err := tx.User(ctx, domain, "user-"+name); err != nil {
				if err := tx.InsertUser(ctx, user(name)); err != nil {
					return err
				}
			}
			return tx.InsertLink(ctx, link(name))
		},
		read: func(ctx context.Context, r storage.Reader, name string) (any, any, error) {
			got, err := r.LinkedUser(ctx, domain, "https://login.example.com", "subject-"+name)
			return got, user(name), err
		},
	},
	{
		name:   "Name",
		insert: func(ctx context.Context, tx storage.Tx, name string) error { return tx.InsertName(ctx, nameOf(name)) },
		read: func(ctx context.Context, r storage.Reader, name string) (any, any, error) {
			got, err := r.Name(ctx, domain, "key-"+name)
			return got, nameOf(name), err
		},
		change: func(ctx context.Context, tx storage.Tx, name string) error {
			return tx.UpdateName(ctx, otherName(name))
		},
		changed: func(ctx context.Context, r storage.Reader, name string) (any, any, error) {
			got, err := r.Name(ctx, domain, "key-"+name)
			return got, otherName(name), err
		},
	},
	{
		name:   "Device",
		insert: func(ctx context.Context, tx storage.Tx, name string) error { return tx.InsertDevice(ctx, device(name)) },
		read: func(ctx context.Context, r storage.Reader, name string) (any, any, error) {
			got, err := r.Device(ctx, domain, "device-"+name)
			return got, device(name), err
		},
		change: func(ctx context.Context, tx storage.Tx, name string) error {
			return tx.UpdateDevice(ctx, otherDevice(name))
		},
		changed: func(ctx context.Context, r storage.Reader, name string) (any, any, error) {
			got, err := r.Device(ctx, domain, "device-"+name)
			return got, otherDevice(name), err
		},
	},
	{
		name: "Grant",
		insert: func(ctx context.Context, tx storage.Tx, name string) error {
			if _, err := tx.User(ctx, domain, "user-"+name); err != nil {
				if err := tx.InsertUser(ctx, user(name)); err != nil {
					return err
				}
				if err := tx.InsertDevice(ctx, device(name)); err != nil {
					return err
				}
			}
			return tx.InsertGrant(ctx, endedGrant(name))
		},
		read: func(ctx context.Context, r storage.Reader, name string) (any, any, error) {
			g, u, d, err := r.Session(ctx, "grant-"+name)
			return session{g, u, d}, session{endedGrant(name), user(name), device(name)}, err
		},
	},
	{
		name: "Credential",
		insert: func(ctx context.Context, tx storage.Tx, name string) error {
			if _, err := tx.User(ctx, domain, "user-"+name); err != nil {
				if err := insertOwner(ctx, tx, name); err != nil {
					return err
				}
			}
			return tx.InsertCredential(ctx, credential(name))
		},
		read: func(ctx context.Context, r storage.Reader, name string) (any, any, error) {
			got, err := r.Credential(ctx, credential(name).ID)
			return got, credential(name), err
		},
	},
	{
		name: "SignedDocument",
		insert: func(ctx context.Context, tx storage.Tx, name string) error {
			if _, err := tx.SignedDocument(ctx, domain, "user-"+name, storage.DocumentKeys, ""); err == nil {
				return storage.ErrConflict // to put one replaces it
			}
			if _, err := tx.User(ctx, domain, "user-"+name); err != nil {
				if err := tx.InsertUser(ctx, user(name)); err != nil {
					return err
				}
			}
			return tx.PutSignedDocument(ctx, signedDocument(name))
		},
		read: func(ctx context.Context, r storage.Reader, name string) (any, any, error) {
			got, err := r.SignedDocument(ctx, domain, "user-"+name, storage.DocumentKeys, "")
			return got, signedDocument(name), err
		},
	},
	{
		name: "Code",
		insert: func(ctx context.Context, tx storage.Tx, name string) error {
			return tx.InsertCode(ctx, spentCode(name))
		},
		read: func(ctx context.Context, r storage.Reader, name string) (any, any, error) {
			got, err := r.Code(ctx, digest("code "+name))
			return got, spentCode(name), err
		},
	},
	{
		name: "DeviceCode",
		insert: func(ctx context.Context, tx storage.Tx, name string) error {
			return tx.InsertDeviceCode(ctx, allowedDeviceCode(name))
		},
		read: func(ctx context.Context, r storage.Reader, name string) (any, any, error) {
			got, err := r.DeviceCode(ctx, digest("device code "+name))
			return got, allowedDeviceCode(name), err
		},
	},
	{
		name:   "Pushed",
		insert: func(ctx context.Context, tx storage.Tx, name string) error { return tx.InsertPushed(ctx, pushed(name)) },
		read: func(ctx context.Context, r storage.Reader, name string) (any, any, error) {
			got, err := r.Pushed(ctx, digest("uri "+name))
			return got, pushed(name), err
		},
	},
	{
		name: "Statement",
		insert: func(ctx context.Context, tx storage.Tx, name string) error {
			return tx.InsertStatement(ctx, statement(name))
		},
		read: func(ctx context.Context, r storage.Reader, name string) (any, any, error) {
			got, err := r.Statement(ctx, "jti-"+name)
			return got, statement(name), err
		},
	},
	{
		name:   "Client",
		insert: func(ctx context.Context, tx storage.Tx, name string) error { return tx.InsertClient(ctx, client(name)) },
		read: func(ctx context.Context, r storage.Reader, name string) (any, any, error) {
			got, err := clientOf(ctx, r, name)
			return got, client(name), err
		},
		change: func(ctx context.Context, tx storage.Tx, name string) error {
			return tx.UpdateClient(ctx, otherClient(name))
		},
		changed: func(ctx context.Context, r storage.Reader, name string) (any, any, error) {
			got, err := clientOf(ctx, r, name)
			return got, otherClient(name), err
		},
	},
	{
		name:   "Login",
		insert: func(ctx context.Context, tx storage.Tx, name string) error { return tx.InsertLogin(ctx, login(name)) },
		read: func(ctx context.Context, r storage.Reader, name string) (any, any, error) {
			got, err := r.Login(ctx, digest("state "+name))
			return got, login(name), err
		},
	},
	{
		name: "BrowserSession",
		insert: func(ctx context.Context, tx storage.Tx, name string) error {
			if _, err := tx.User(ctx, domain, "user-"+name); err != nil {
				if err := tx.InsertUser(ctx, user(name)); err != nil {
					return err
				}
			}
			return tx.InsertBrowserSession(ctx, browserSession(name))
		},
		read: func(ctx context.Context, r storage.Reader, name string) (any, any, error) {
			b, u, err := r.BrowserSession(ctx, digest("browser session "+name))
			return signedIn{b, u}, signedIn{browserSession(name), user(name)}, err
		},
	},
	{
		name: "UpstreamToken",
		insert: func(ctx context.Context, tx storage.Tx, name string) error {
			return tx.InsertUpstreamToken(ctx, upstreamToken(name))
		},
		read: func(ctx context.Context, r storage.Reader, name string) (any, any, error) {
			got, err := r.UpstreamToken(ctx, "token-"+name)
			return got, upstreamToken(name), err
		},
	},
}

// signedIn is what BrowserSession returns.
type signedIn struct {
	Session storage.BrowserSession
	User    storage.User
}

// session is what Session returns.
type session struct {
	Grant  storage.Grant
	User   storage.User
	Device storage.Device
}

// signingKey finds a key by its KID.
func signingKey(ctx context.Context, r storage.Reader, kid string) (storage.SigningKey, error) {
	keys, err := r.SigningKeys(ctx)
	if err != nil {
		return storage.SigningKey{}, err
	}
	for _, k := range keys {
		if k.KID == kid {
			return k, nil
		}
	}
	return storage.SigningKey{}, storage.ErrNotFound
}

// The other records share the key of the fixture of that name, and nothing else.

func otherKey(name string) storage.SigningKey {
	return storage.SigningKey{KID: name, Alg: "EdDSA", Sealed: []byte("other"), Public: []byte(`{"kty":"OKP"}`),
		CreatedAt: at.Add(4 * time.Hour), ActiveAt: at.Add(5 * time.Hour)}
}

func otherUser(name string) storage.User {
	return storage.User{Domain: domain, ID: "user-" + name, Handle: "other-" + name, Gen: 4, CreatedAt: at.Add(time.Hour)}
}

func otherName(name string) storage.Name {
	return storage.Name{Domain: domain, Key: "key-" + name, Local: "OTHER", User: "somebody", TakenAt: at.Add(time.Hour)}
}

func otherDevice(name string) storage.Device {
	return storage.Device{Domain: domain, ID: "device-" + name, User: "somebody", JKT: "other-" + name, Alg: "other", Name: "",
		Client: "web", CreatedAt: at.Add(time.Hour)}
}

func otherClient(name string) storage.Client {
	return storage.Client{ID: "client/" + name, Registration: []byte("{}"), CreatedAt: at.Add(time.Hour)}
}
