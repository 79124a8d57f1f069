package storagetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// certificate returns a certificate that has not ended, of the CA of its name.
func certificate(name string, n int) storage.Credential {
	c := liveCredential(name, n)
	c.ID, c.Format, c.CA, c.Status = fmt.Sprintf("%x%02x", name, n), "im-x5c", "ca-"+name, storage.StatusEntry{}
	return c
}

// withCertificates adds owners, with n certificates each.
func withCertificates(t *testing.T, s storage.Store, n int, names ...string) {
	t.Helper()
	withCredentials(t, s, 0, names...)
	for _, name := range names {
		for i := range n {
			if err := insertCredential(t, s, certificate(name, i)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// expectCertificateEnds holds the ends of the CA of a name to texts such as "0:5", the last two digits of the serial number and the reason,
// in the order of their numbers.
func expectCertificateEnds(t *testing.T, s storage.Store, name string, at time.Time, want ...string) {
	t.Helper()
	ends, err := s.CertificateEnds(t.Context(), "ca-"+name, 0)
	if err != nil || len(ends) != len(want) {
		t.Errorf("the ends of the CA of %s = %+v, %v, want %v", name, ends, err, want)
		return
	}
	last := int64(0)
	for i, e := range ends {
		got := fmt.Sprintf("%s:%d", e.Serial[len(e.Serial)-1:], e.Reason)
		if got != want[i] || e.Number <= last || !at.IsZero() && !e.At.Equal(at) || !e.ExpiresAt.Equal(certificate(name, 0).ExpiresAt) {
			t.Errorf("end %d of the CA of %s = %+v, want %s at %v after number %d", i, name, e, want[i], at, last)
		}
		last = e.Number
	}
	for i := range ends {
		more, err := s.CertificateEnds(t.Context(), "ca-"+name, ends[i].Number)
		if err != nil || len(more) != len(ends)-i-1 {
			t.Errorf("the ends after %d = %+v, %v, want %d", ends[i].Number, more, err, len(ends)-i-1)
		}
	}
}

// However a certificate ends, its CA has its end, with a reason of RFC 5280. With the handle end those certificates that state it.
func testCertificatesEnd(t *testing.T, s storage.Store) {
	withCertificates(t, s, 2, "device", "key", "disabled", "removed", "renamed", "slow", "user", "stolen", "same")
	without := certificate("renamed", 2)
	without.Handle = ""
	if err := insertCredential(t, s, without); err != nil {
		t.Fatal(err)
	}
	then := at.Add(time.Hour)
	end := func(ctx context.Context, tx storage.Tx, name, reason string) error {
		_, err := tx.EndCredentials(ctx, storage.CredentialsOf{ID: certificate(name, 0).ID}, then, reason)
		return err
	}
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		d, off, renamed, slow := device("device"), user("disabled"), user("renamed"), user("slow")
		d.RemovedAt, off.DisabledAt = then, then
		renamed.DisabledAt, renamed.Handle, slow.DisabledAt, slow.Handle = time.Time{}, "other", time.Time{}, "another"
		n, err := tx.EndCredentialHandles(ctx, domain, "user-renamed", then)
		if n != 2 {
			t.Errorf("EndCredentialHandles = %d, want 2", n)
		}
		return errors.Join(err, tx.UpdateDevice(ctx, d), tx.RekeyDevice(ctx, rekey("key", "jkt-key", "another", time.Hour)),
			tx.UpdateUser(ctx, off), tx.UpdateUser(ctx, renamed), tx.UpdateUser(ctx, slow),
			end(ctx, tx, "user", "user_ended"), end(ctx, tx, "stolen", "keyCompromise"),
			tx.BeginRemoval(ctx, storage.Removal{Domain: domain, User: "user-removed", At: then}))
	})
	for more := true; more; {
		write(t, s, func(ctx context.Context, tx storage.Tx) (err error) {
			more, err = tx.ContinueRemoval(ctx, storage.Removal{Domain: domain, User: "user-removed", At: then}, 2)
			return err
		})
	}
	for name, want := range map[string][]string{
		"device": {"0:5", "1:5"}, "key": {"0:4", "1:4"}, "disabled": {"0:9", "1:9"}, "removed": {"0:5", "1:5"},
		"renamed": {"0:3", "1:3"}, "user": {"0:0"}, "stolen": {"0:1"}, "same": nil,
	} {
		expectCertificateEnds(t, s, name, then, want...)
		expectEnds(t, s, name) // in no status list
	}
	expectCertificateEnds(t, s, "slow", time.Time{}, "0:3", "1:3")
	for i, want := range []time.Time{then, then, {}} {
		c := readCredential(t, s, certificate("renamed", i).ID)
		if !c.EndedAt.Equal(want) || !c.HandleEndedAt.Equal(want) || c.EndedReason == storage.RenamedReason == want.IsZero() ||
			c.CA != "ca-renamed" {
			t.Errorf("Credential = %+v, want it ended at %v with its handle", c, want)
		}
	}
	// They do not end twice.
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		_, err := tx.EndCredentials(ctx, storage.CredentialsOf{Domain: domain, User: "user-renamed"}, then.Add(time.Hour), "later")
		return err
	})
	expectCertificateEnds(t, s, "renamed", time.Time{}, "0:3", "1:3", "2:0")
}

// A certificate has a CA and no entry in a list. Those of a user are counted until they expire, whatever they are of.
func testCertificatesCounted(t *testing.T, s storage.Store) {
	withCertificates(t, s, 3, "alice", "bob")
	both, short := certificate("alice", 3), certificate("alice", 4)
	both.Status, short.ExpiresAt = storage.StatusEntry{List: credentialList("alice").ID, Index: 1}, at.Add(time.Hour)
	if err := insertCredential(t, s, both); err != storage.ErrConflict {
		t.Errorf("InsertCredential with a CA and an entry = %v, want %v", err, storage.ErrConflict)
	}
	if err := insertCredential(t, s, certificate("alice", 0)); err != storage.ErrConflict {
		t.Errorf("InsertCredential of a serial number that was used = %v, want %v", err, storage.ErrConflict)
	}
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		_, err := tx.EndCredentials(ctx, storage.CredentialsOf{ID: certificate("alice", 1).ID}, at, "x")
		return errors.Join(err, tx.InsertCredential(ctx, short), tx.InsertCredential(ctx, liveCredential("alice", 9)))
	})
	count := func(domain, user string, now time.Time, want int) {
		t.Helper()
		for _, limit := range []int{-1, 0, 2, 4, 100} {
			if n, err := s.CountCertificates(t.Context(), domain, user, now, limit); err != nil || n != min(want, max(limit, 0)) {
				t.Errorf("CountCertificates of %s to %d = %d, %v, want %d", user, limit, n, err, min(want, max(limit, 0)))
			}
		}
	}
	count(domain, "user-alice", at, 4)
	count(domain, "user-alice", at.Add(time.Hour), 3)
	count(domain, "user-bob", at, 3)
	count(domain, "user-nobody", at, 0)
	count("example.org", "user-alice", at, 0)
	count(domain, "user-alice", short.IssuedAt.Add(storage.LongestCredential), 0)
}

// An end stays until its certificate has expired and a day has passed.
func testSweepTakesCertificates(t *testing.T, s storage.Store) {
	withCertificates(t, s, 1, "alice")
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		_, err := tx.EndCredentials(ctx, storage.CredentialsOf{ID: certificate("alice", 0).ID}, at, "x")
		return err
	})
	gone := certificate("alice", 0).ExpiresAt.Add(storage.CredentialGrace)
	sweepAll(t, s, gone, 3)
	expectCertificateEnds(t, s, "alice", at, "0:0")
	sweepAll(t, s, gone.Add(time.Second), 3)
	expectCertificateEnds(t, s, "alice", at)
	if _, err := s.Credential(t.Context(), certificate("alice", 0).ID); err != storage.ErrNotFound {
		t.Errorf("Credential = %v, want %v", err, storage.ErrNotFound)
	}
}
