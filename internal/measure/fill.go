package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/config"
	assembly "github.com/imidentity/issuer/internal/issuer"
	"github.com/imidentity/issuer/storage"
)

// batch is how many users or revocations one transaction of a fill holds.
const batch = 2000

// withStore opens the database of an issuer that does not run.
func withStore(ctx context.Context, s *issuer, do func(storage.Store) error) error {
	cfg, err := config.Load(s.settings(), os.Environ())
	if err != nil {
		return err
	}
	store, err := assembly.OpenBulk(ctx, cfg)
	if err != nil {
		return err
	}
	return errors.Join(do(store), store.Close())
}

// fill writes n rows, a batch in each transaction.
func fill(ctx context.Context, store storage.Store, n int, insert func(ctx context.Context, tx storage.Tx, i int) error) error {
	for from := 0; from < n; from += batch {
		err := store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
			for i := from; i < min(n, from+batch); i++ {
				if err := insert(ctx, tx, i); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("fill the database: %w", err)
		}
	}
	return nil
}

// userID is the id of the user i: 128 bits in base64url, as the issuer makes them.
func userID(i int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "user %d", i))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// insertUser adds a user as a first login leaves them: two names, a link, a device and a session, which is expired or not.
func insertUser(provider string, expired func(i int) bool) func(ctx context.Context, tx storage.Tx, i int) error {
	now := time.Now()
	tables := claims.CollisionTables()
	return func(ctx context.Context, tx storage.Tx, i int) error {
		id, handle, created := userID(i), fmt.Sprintf("filled-%d", i), now.Add(-24*time.Hour)
		var device [8]byte
		var key [32]byte
		_, _ = rand.Read(device[:]) // never fails
		_, _ = rand.Read(key[:])
		jkt := base64.RawURLEncoding.EncodeToString(key[:])
		deviceID := hex.EncodeToString(device[:])
		g := storage.Grant{
			ID: rand.Text(), Domain: domainName, Client: appID, User: id, Device: deviceID, JKT: jkt,
			Scopes: []string{"im:handle", "im:device"}, Audience: []string{claims.DomainURI(domainName)}, Issuer: provider,
			AuthTime: created, AMR: []string{"pwd"}, CreatedAt: created,
			IdleAt: now.Add(14 * 24 * time.Hour), ExpiresAt: now.Add(180 * 24 * time.Hour),
		}
		if expired(i) {
			g.IdleAt, g.ExpiresAt = now.Add(-time.Hour), now.Add(-time.Hour)
		}
		err := errors.Join(
			tx.InsertUser(ctx, storage.User{Domain: domainName, ID: id, Handle: handle, Gen: 1, CreatedAt: created}),
			tx.InsertLink(ctx, storage.Link{Domain: domainName, Issuer: provider, Subject: handle, User: id, CreatedAt: created}),
			tx.InsertDevice(ctx, storage.Device{
				Domain: domainName, ID: deviceID, User: id, JKT: jkt, Name: "Phone", Client: appID, CreatedAt: created,
			}),
			tx.InsertGrant(ctx, g))
		for _, local := range []string{id, handle} {
			err = errors.Join(err, tx.InsertName(ctx, storage.Name{
				Domain: domainName, Key: claims.CollisionKeyOf(local), Tables: tables, Local: local, User: id, TakenAt: created,
			}))
		}
		return err
	}
}

// insertRevocation adds a revocation of a token that would be valid for another hour.
func insertRevocation(ctx context.Context, tx storage.Tx, i int) error {
	now := time.Now()
	_, err := tx.Revoke(ctx, storage.Revocation{
		Kind: storage.RevokeToken, Key: rand.Text(), Owner: domainName + "/" + userID(i), Reason: "revoked",
		At: now, ExpiresAt: now.Add(time.Hour),
	})
	return err
}
