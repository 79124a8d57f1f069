package server_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/storage"
)

// credentialList is the list of all credentials of these tests.
const credentialList = "/status/00000000007"

// withCredential stores a credential for the device of a session, and returns its entry.
func (s *site) withCredential(t *testing.T, index int, held tokens) int {
	t.Helper()
	id := deviceOf(t, held)
	now := s.clock.now()
	err := s.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		if _, err := tx.StatusList(ctx, 7); errors.Is(err, storage.ErrNotFound) {
			if err := tx.InsertStatusList(ctx, storage.StatusList{
				ID: 7, Kind: storage.CredentialStatuses, Domain: "example.com", Size: 1 << 17, Available: 1000, Used: 1000, CreatedAt: now,
				ExpiresAt: now.Add(time.Hour),
			}); err != nil {
				return err
			}
		}
		d, err := tx.Device(ctx, "example.com", id.Device())
		if err != nil {
			return err
		}
		u, err := tx.User(ctx, "example.com", d.User)
		if err != nil {
			return err
		}
		return tx.InsertCredential(ctx, storage.Credential{
			ID: fmt.Sprint("credential ", index), Domain: "example.com", User: u.ID, Device: d.ID, Format: "dc+sd-jwt", JKT: d.JKT,
			Handle: u.Handle, Status: storage.StatusEntry{List: 7, Index: index}, IssuedAt: now, ExpiresAt: now.Add(30 * 24 * time.Hour),
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return index
}

// ifNoneMatch asks for the list again.
func (s *site) ifNoneMatch(t *testing.T, etag string) answer {
	t.Helper()
	req := s.request(t, http.MethodGet, credentialList, "")
	req.Header.Set("If-None-Match", etag)
	return s.send(t, s.http, req)
}

// wantCredential holds the status of an entry to one.
func (s *site) wantCredential(t *testing.T, index int, want statuslist.Status) {
	t.Helper()
	a := s.get(t, credentialList)
	wantStatus(t, a, http.StatusOK)
	token, err := statuslist.Parse(a.body, statuslist.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := token.List.At(uint64(index)); err != nil || got != want {
		t.Errorf("the status of %d = %v, %v, want %v", index, got, err, want)
	}
}

// The list of credentials is a public document that can be cached, and is made again only if a credential of it ended.
func TestCredentialStatusDocument(t *testing.T) {
	s := start(t, nil)
	s.freeze(t)
	d, other := newDevice(t), newDevice(t)
	held, others := s.login(t, d, "alice"), s.login(t, other, "bob")
	index := s.withCredential(t, 1, held)
	s.withCredential(t, 2, others)
	first := s.get(t, credentialList)
	etag := first.header.Get("ETag")
	for name, want := range map[string]string{"Content-Type": "application/statuslist+jwt", "Cache-Control": "public, max-age=300"} {
		if got := first.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	token, err := statuslist.Parse(first.body, statuslist.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	now := s.clock.now().Truncate(time.Second)
	if token.Issuer != s.issuer || token.Subject != s.issuer+credentialList || !token.Expires.Equal(now.Add(24*time.Hour)) ||
		token.TTL != 5*time.Minute || token.List.Bits() != 2 || token.List.Len() != 1<<17 {
		t.Errorf("the list is %+v of %d entries of %d bits", token.Token, token.List.Len(), token.List.Bits())
	}
	// The end of a session is none of a credential.
	wantStatus(t, s.revoke(t, app, s.login(t, other, "bob").refresh), http.StatusOK)
	if a := s.ifNoneMatch(t, etag); a.status != http.StatusNotModified || a.body != "" || a.header.Get("ETag") != etag {
		t.Errorf("answer to If-None-Match = %v, want 304", a)
	}
	id := deviceOf(t, held)
	wantStatus(t, s.operate(t, http.MethodDelete, "/admin/devices/example.com/"+id.Device(), nil), http.StatusOK)
	if a := s.ifNoneMatch(t, etag); a.status != http.StatusOK || a.header.Get("ETag") == etag {
		t.Errorf("answer after the end of a credential = %v, want another list", a)
	}
	s.wantCredential(t, index, statuslist.Invalid)
	s.wantCredential(t, 2, statuslist.Valid)
	s.advance(t, time.Hour)
	if a := s.ifNoneMatch(t, s.get(t, credentialList).header.Get("ETag")); a.status != http.StatusNotModified {
		t.Errorf("answer to If-None-Match = %v, want 304", a)
	}
	s.faults.set("Revocations")
	s.clock.advance(3 * time.Second)
	if a := s.ifNoneMatch(t, etag); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("answer while the revocations cannot be read = %v, want 503", a)
	}
	s.faults.set("")
}

// In whatever way a device or its user goes, the credential ends at once; with another handle, only the handle of it does.
func TestCredentialsEndByEveryWay(t *testing.T) {
	inDomain := url.Values{"domain": {"example.com"}}
	for name, test := range map[string]struct {
		act  func(t *testing.T, s *site, user, device string) answer
		want statuslist.Status
	}{
		"operator removes the device": {func(t *testing.T, s *site, user, device string) answer {
			return s.operate(t, http.MethodDelete, "/admin/devices/example.com/"+device, nil)
		}, statuslist.Invalid},
		"user removes the device": {func(t *testing.T, s *site, user, device string) answer {
			d := newDevice(t)
			return s.held(t, d, s.forIssuer(t, d, s.account(t, d, "alice"), "account").access, http.MethodDelete, "/me/devices/"+device, nil)
		}, statuslist.Invalid},
		"operator disables the user": {func(t *testing.T, s *site, user, device string) answer {
			return s.operate(t, http.MethodPost, "/admin/users/"+user+"/disable", inDomain)
		}, statuslist.Invalid},
		"operator removes the user": {func(t *testing.T, s *site, user, device string) answer {
			return s.operate(t, http.MethodDelete, "/admin/users/"+user, inDomain)
		}, statuslist.Invalid},
		"provider disables the user": {func(t *testing.T, s *site, user, device string) answer {
			return s.scim(t, corpToken, http.MethodPatch, "/Users/"+user, setActive(false))
		}, statuslist.Invalid},
		"provider deletes the user": {func(t *testing.T, s *site, user, device string) answer {
			return s.scim(t, corpToken, http.MethodDelete, "/Users/"+user, nil)
		}, statuslist.Invalid},
		"operator renames the user": {func(t *testing.T, s *site, user, device string) answer {
			return s.operate(t, http.MethodPut, "/admin/users/"+user+"/handle", url.Values{"domain": {"example.com"}, "handle": {"alicia"}})
		}, statuslist.Application},
		"client revokes the session": {func(t *testing.T, s *site, user, device string) answer {
			return s.revoke(t, app, s.login(t, newDevice(t), "alice").refresh)
		}, statuslist.Valid},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, nil)
			held, others := s.login(t, newDevice(t), "alice"), s.login(t, newDevice(t), "bob")
			s.withCredential(t, 1, held)
			s.withCredential(t, 2, others)
			s.wantCredential(t, 1, statuslist.Valid)
			id := deviceOf(t, held)
			if a := test.act(t, s, id.Local(), id.Device()); a.status/100 != 2 {
				t.Fatalf("answer = %v", a)
			}
			s.wantCredential(t, 1, test.want)
			s.wantCredential(t, 2, statuslist.Valid)
		})
	}
}
