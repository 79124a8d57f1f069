package simulation

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/imidentity/issuer/storage"
)

// Credentials of devices, and their ends.

func byCredential(a, b storage.Credential) int { return compare(a.ID, b.ID) }
func byEnd(a, b certificateEnd) int            { return cmp.Compare(a.End.Number, b.End.Number) }
func byNumber(a, b credentialEnd) int          { return cmp.Compare(a.End.Number, b.End.Number) }

func (r *reader) Credential(ctx context.Context, id string) (storage.Credential, error) {
	return read(ctx, r, "Credential", func(s *state) (storage.Credential, error) { return s.credentials.get(id) })
}

func (r *reader) Credentials(ctx context.Context, domain, user, after string, limit int) ([]storage.Credential, error) {
	return list(ctx, r, "Credentials", func(s *state) []storage.Credential {
		return page(s.credentials.where(func(c storage.Credential) bool {
			return c.Domain == domain && (user == "" || c.User == user) && c.ID > after
		}, byCredential), limit)
	})
}

// lives reports whether a credential has neither ended nor expired.
func lives(c *storage.Credential, now time.Time) bool {
	return c.EndedAt.IsZero() && c.ExpiresAt.After(now)
}

func (r *reader) CredentialsByKey(ctx context.Context, domain, jkt string, now time.Time, limit int) ([]storage.Credential, error) {
	now = whole(now)
	return list(ctx, r, "CredentialsByKey", func(s *state) []storage.Credential {
		return page(s.credentials.where(func(c storage.Credential) bool {
			return c.Domain == domain && c.JKT == jkt && lives(&c, now)
		}, byCredential), limit)
	})
}

func (r *reader) DeviceCredentials(ctx context.Context, domain, device string, now time.Time, limit int) ([]storage.Credential, error) {
	now = whole(now)
	return list(ctx, r, "DeviceCredentials", func(s *state) []storage.Credential {
		found := s.credentials.where(func(c storage.Credential) bool {
			return c.Domain == domain && c.Device == device && c.ExpiresAt.After(now)
		}, byCredential)
		slices.SortStableFunc(found, func(a, b storage.Credential) int { // a live one is as one that ends after all others
			switch {
			case a.EndedAt.IsZero() == b.EndedAt.IsZero():
				return b.EndedAt.Compare(a.EndedAt)
			case a.EndedAt.IsZero():
				return -1
			}
			return 1
		})
		return page(found, limit)
	})
}

func (r *reader) CountCredentials(
	ctx context.Context, domain, device, format string, now time.Time, most storage.CredentialCount,
) (storage.CredentialCount, error) {
	now = whole(now)
	return list(ctx, r, "CountCredentials", func(s *state) storage.CredentialCount {
		return storage.CredentialCount{
			Live: s.credentials.count(func(c storage.Credential) bool {
				return c.Domain == domain && c.Device == device && c.Format == format && lives(&c, now)
			}, most.Live),
			All: s.credentials.count(func(c storage.Credential) bool {
				return c.Domain == domain && c.Device == device && c.ExpiresAt.After(now)
			}, most.All),
		}
	})
}

func (r *reader) CredentialEnds(ctx context.Context, id, after int64) ([]storage.CredentialEnd, error) {
	return list(ctx, r, "CredentialEnds", func(s *state) (ends []storage.CredentialEnd) {
		newer := func(e credentialEnd) bool { return e.Entry.List == id && e.End.Number > after }
		for _, e := range s.credentialEnds.where(newer, byNumber) {
			ends = append(ends, e.End)
		}
		return ends
	})
}

func (r *reader) CountCertificates(ctx context.Context, domain, user string, now time.Time, limit int) (int, error) {
	now = whole(now)
	return list(ctx, r, "CountCertificates", func(s *state) int {
		return s.credentials.count(func(c storage.Credential) bool {
			return c.Domain == domain && c.User == user && c.CA != "" && c.ExpiresAt.After(now)
		}, limit)
	})
}

func (r *reader) CertificateEnds(ctx context.Context, ca string, after int64) ([]storage.CertificateEnd, error) {
	return list(ctx, r, "CertificateEnds", func(s *state) (ends []storage.CertificateEnd) {
		newer := func(e certificateEnd) bool { return e.CA == ca && e.End.Number > after }
		for _, e := range s.certificateEnds.where(newer, byEnd) {
			ends = append(ends, e.End)
		}
		return ends
	})
}

func (t *tx) InsertCredential(ctx context.Context, c storage.Credential) error {
	return t.change(ctx, "InsertCredential", func(s *state) error {
		u, hasUser := s.users.find(pair{c.Domain, c.User})
		d, hasDevice := s.devices.find(pair{c.Domain, c.Device})
		l, hasList := s.statusLists.find(c.Status.List)
		switch {
		case !hasUser || !u.DisabledAt.IsZero() || c.Handle != "" && c.Handle != u.Handle,
			!hasDevice || d.User != c.User || !d.RemovedAt.IsZero(),
			c.CA == "" && (!hasList || l.Kind != storage.CredentialStatuses || l.Domain != c.Domain || !l.EndedAt.IsZero() ||
				s.credentials.any(func(o storage.Credential) bool { return o.Status == c.Status })),
			c.CA != "" && c.Status != storage.StatusEntry{}:
			return storage.ErrConflict
		}
		if err := s.credentials.insert(c.ID, c); err != nil || c.CA != "" {
			return err
		}
		if until := whole(c.ExpiresAt).Add(storage.CredentialGrace); until.After(l.ExpiresAt) {
			l.ExpiresAt = until
			s.statusLists.put(l.ID, l)
		}
		return nil
	})
}

func (t *tx) EndCredentials(ctx context.Context, which storage.CredentialsOf, at time.Time, reason string) (n int, err error) {
	err = t.change(ctx, "EndCredentials", func(s *state) error {
		n = s.endCredentials(which, at, reason)
		return nil
	})
	return n, err
}

func (t *tx) EndCredentialHandles(ctx context.Context, domain, user string, at time.Time) (n int, err error) {
	err = t.change(ctx, "EndCredentialHandles", func(s *state) error {
		n = s.endHandles(domain, user, at)
		return nil
	})
	return n, err
}

// endCredentials ends the credentials that are meant, and returns how many.
func (s *state) endCredentials(which storage.CredentialsOf, at time.Time, reason string) int {
	if which.ID == "" && (which.Domain == "" || which.User == "" && which.Device == "" && which.JKT == "") {
		return 0
	}
	ended := s.credentials.where(func(c storage.Credential) bool {
		return c.EndedAt.IsZero() && (which.Domain == "" || which.Domain == c.Domain) && (which.User == "" || which.User == c.User) &&
			(which.Device == "" || which.Device == c.Device) && (which.JKT == "" || which.JKT == c.JKT) &&
			(which.ID == "" || which.ID == c.ID)
	}, byCredential)
	for _, c := range ended {
		c.EndedAt, c.EndedReason = whole(at), reason
		s.endCredential(c)
	}
	return len(ended)
}

// endHandles ends the handles of the credentials of a user, and returns how many.
func (s *state) endHandles(domain, user string, at time.Time) int {
	ended := s.credentials.where(func(c storage.Credential) bool {
		return c.Domain == domain && c.User == user && c.EndedAt.IsZero() && c.Handle != "" && c.HandleEndedAt.IsZero()
	}, byCredential)
	for _, c := range ended {
		if c.HandleEndedAt = whole(at); c.HandleEndedAt.IsZero() {
			c.HandleEndedAt = c.IssuedAt
		}
		if c.CA != "" {
			c.EndedAt, c.EndedReason = c.HandleEndedAt, storage.RenamedReason
		}
		s.endCredential(c)
	}
	return len(ended)
}

// endCredential stores a credential that ended, or whose handle did, and its end under the next number.
func (s *state) endCredential(c storage.Credential) {
	s.credentials.put(c.ID, c)
	if c.CA != "" {
		s.certificateEnds.put(c.ID, certificateEnd{CA: c.CA, End: storage.CertificateEnd{
			Number: s.next("revocation"), Serial: c.ID, Reason: crlReasons[c.EndedReason], At: c.EndedAt, ExpiresAt: c.ExpiresAt,
		}})
		return
	}
	s.credentialEnds.put(c.Status, credentialEnd{
		Entry: c.Status, ExpiresAt: c.ExpiresAt,
		End: storage.CredentialEnd{Number: s.next("revocation"), Index: c.Status.Index, HandleOnly: c.EndedAt.IsZero()},
	})
}

// crlReasons are the reasons of revocation lists for those of credentials (RFC 5280 §5.3.1).
var crlReasons = map[string]int{
	"keyCompromise": 1, storage.RenamedReason: 3, "rekeyed": 4, "device_removed": 5, "user_removed": 5, "user_disabled": 9,
}
