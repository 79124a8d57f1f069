package simulation

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/imidentity/issuer/storage"
)

// A found row is about a user.
type found struct {
	shown any // to the user
	drop  func()
}

// A part is a table with rows about users.
type part struct {
	name  string
	stays bool // a removal leaves the rows
	rows  func(s *state, domain, user string) []found
}

// rowsOf returns the rows of a table that match, in the order of less.
func rowsOf[K comparable, V any](t *table[K, V], match func(V) bool, order func(a, b V) int, key func(V) K) (rows []found) {
	for _, v := range t.where(match, order) {
		rows = append(rows, found{v, func() { drop(t, key(v)) }})
	}
	return rows
}

func compare(a, b string) int { return strings.Compare(a, b) }

// parts are in the order in which a removal deletes them: a code names a grant, a withdrawal covers statements, and some rows are found by
// the devices or the links of the user.
var parts = []part{
	{name: "users", stays: true, rows: func(s *state, domain, user string) (rows []found) {
		if u, ok := s.users.find(pair{domain, user}); ok {
			rows = append(rows, found{shown: u})
		}
		return rows
	}},
	{name: "codes", rows: func(s *state, domain, user string) (rows []found) {
		for _, c := range s.codes.where(func(c storage.Code) bool { return c.Domain == domain && c.User == user }, byCode) {
			withheld := c
			withheld.Hash, withheld.Challenge = [32]byte{}, ""
			rows = append(rows, found{withheld, func() { s.dropCode(c) }})
		}
		return rows
	}},
	{name: "device_codes", rows: func(s *state, domain, user string) (rows []found) {
		for _, c := range s.deviceCodes.where(func(c storage.DeviceCode) bool {
			return c.Domain == domain && c.User == user
		}, byDeviceCode) {
			withheld := c
			withheld.Hash, withheld.UserCode = [32]byte{}, [32]byte{}
			rows = append(rows, found{withheld, func() { s.dropDeviceCode(c) }})
		}
		return rows
	}},
	{name: "browser_sessions", rows: func(s *state, domain, user string) (rows []found) {
		for _, b := range s.browsers.where(func(b storage.BrowserSession) bool { return b.Domain == domain && b.User == user }, byBrowser) {
			withheld := b
			withheld.Hash = [32]byte{}
			rows = append(rows, found{withheld, func() { s.dropBrowser(b) }})
		}
		return rows
	}},
	{name: "logins", rows: func(s *state, domain, user string) []found {
		return rowsOf(&s.logins, func(l storage.Login) bool { return l.Domain == domain && s.namedIn(l.Person, domain, user) },
			func(a, b storage.Login) int { return compareHash(a.State, b.State) }, func(l storage.Login) hash { return l.State })
	}},
	{name: "logouts", rows: func(s *state, domain, user string) []found {
		return rowsOf(&s.logouts, func(l storage.Logout) bool {
			held, ok := s.links.rows[link{domain, l.Issuer, l.Subject}]
			return l.Domain == domain && ok && held.User == user
		}, func(a, b storage.Logout) int {
			return cmp.Or(compare(a.Issuer, b.Issuer), compare(a.Subject, b.Subject), compare(a.SID, b.SID))
		}, func(l storage.Logout) logout { return logout{l.Domain, l.Issuer, l.Subject, l.SID} })
	}},
	{name: "statements", rows: func(s *state, domain, user string) []found {
		return rowsOf(&s.statements, func(v rowedStatement) bool { return v.Domain == domain && v.User == user }, byAge,
			func(v rowedStatement) string { return v.JTI })
	}},
	{name: "withdrawals", rows: func(s *state, domain, user string) []found {
		return rowsOf(&s.withdrawals, func(w storage.Withdrawal) bool { return w.Domain == domain && w.User == user },
			func(a, b storage.Withdrawal) int { return cmp.Compare(a.ID, b.ID) }, func(w storage.Withdrawal) int64 { return w.ID })
	}},
	{name: "rekeys", rows: func(s *state, domain, user string) (rows []found) {
		for _, d := range s.devices.where(func(d storage.Device) bool { return d.Domain == domain && d.User == user }, byDeviceID) {
			for _, k := range s.rekeysOf(domain, d.ID) {
				rows = append(rows, found{k, func() { drop(&s.rekeys, pair{domain, k.OldJKT}) }})
			}
		}
		return rows
	}},
	{name: "revocations", stays: true, rows: func(s *state, domain, user string) (rows []found) {
		name := domain + "/" + user
		return rowsOf(&s.revocations, func(v storage.Revocation) bool {
			return v.Owner == name || (v.Kind == storage.RevokeUser || v.Kind == storage.RevokeGen) && v.Key == name
		}, func(a, b storage.Revocation) int { return cmp.Compare(a.Seq, b.Seq) },
			func(v storage.Revocation) revocationKey { return revocationKey{v.Kind, v.Key} })
	}},
	{name: "audit", stays: true, rows: func(s *state, domain, user string) []found {
		return rowsOf(&s.audit, func(a storage.AuditRecord) bool { return a.Domain == domain && a.User == user && user != "" }, byNode,
			func(a storage.AuditRecord) numbered { return numbered{"", a.Node, a.Seq} })
	}},
	{name: "devices", rows: func(s *state, domain, user string) []found {
		return rowsOf(&s.devices, func(d storage.Device) bool { return d.Domain == domain && d.User == user }, byDeviceID,
			func(d storage.Device) pair { return pair{domain, d.ID} })
	}},
	{name: "removed_keys", rows: func(s *state, domain, user string) []found {
		return rowsOf(&s.removedKeys, func(k removedKey) bool { return k.Domain == domain && k.User == user },
			func(a, b removedKey) int { return compare(a.JKT, b.JKT) }, func(k removedKey) pair { return pair{domain, k.JKT} })
	}},
	{name: "grants", rows: func(s *state, domain, user string) (rows []found) {
		for _, g := range s.grants.where(func(g rowedGrant) bool { return g.Domain == domain && g.User == user }, byGrant) {
			rows = append(rows, found{g, func() { drop(&s.grants, g.ID); s.release(g.UpstreamToken) }})
		}
		return rows
	}},
	{name: "ended_grants", rows: func(s *state, domain, user string) []found {
		return rowsOf(&s.endedGrants, func(g storage.Grant) bool { return g.Domain == domain && g.User == user },
			func(a, b storage.Grant) int { return compare(a.ID, b.ID) }, func(g storage.Grant) string { return g.ID })
	}},
	{name: "signed_documents", rows: func(s *state, domain, user string) []found {
		return rowsOf(&s.documents, func(d storage.SignedDocument) bool { return d.Domain == domain && d.User == user }, byDocument,
			documentKey)
	}},
	{name: "credentials", rows: func(s *state, domain, user string) []found {
		return rowsOf(&s.credentials, func(c storage.Credential) bool { return c.Domain == domain && c.User == user }, byCredential,
			func(c storage.Credential) string { return c.ID })
	}},
	{name: "upstream_tokens", rows: func(s *state, domain, user string) []found {
		return rowsOf(&s.upstream, func(u storage.UpstreamToken) bool { return u.Domain == domain && u.User == user },
			func(a, b storage.UpstreamToken) int { return compare(a.ID, b.ID) }, func(u storage.UpstreamToken) string { return u.ID })
	}},
	{name: "user_events", rows: func(s *state, domain, user string) []found {
		return rowsOf(&s.events, func(e storage.UserEvent) bool { return e.Domain == domain && e.User == user },
			func(a, b storage.UserEvent) int { return cmp.Compare(a.Number, b.Number) },
			func(e storage.UserEvent) numbered { return numbered{domain, user, e.Number} })
	}},
	{name: "user_event_numbers", rows: func(s *state, domain, user string) (rows []found) {
		if n, ok := s.eventNumbers.find(pair{domain, user}); ok {
			rows = append(rows, found{n, func() { drop(&s.eventNumbers, pair{domain, user}) }})
		}
		return rows
	}},
	{name: "links", rows: func(s *state, domain, user string) []found {
		return rowsOf(&s.links, func(l storage.Link) bool { return l.Domain == domain && l.User == user },
			func(a, b storage.Link) int { return cmp.Or(compare(a.Issuer, b.Issuer), compare(a.Subject, b.Subject)) },
			func(l storage.Link) link { return link{domain, l.Issuer, l.Subject} })
	}},
	{name: "names", rows: func(s *state, domain, user string) []found {
		return rowsOf(&s.names, func(n storage.Name) bool { return n.Domain == domain && n.User == user }, byKey,
			func(n storage.Name) pair { return pair{domain, n.Key} })
	}},
}

// namedIn reports whether the state of a login contains an account at a provider that is linked to a user.
func (s *state) namedIn(person []byte, domain, user string) bool {
	for _, l := range s.links.rows {
		subject, _ := json.Marshal(l.Subject)
		issuer, _ := json.Marshal(l.Issuer)
		if l.Domain == domain && l.User == user && bytes.Contains(person, subject) && bytes.Contains(person, issuer) {
			return true
		}
	}
	return false
}

func (t *tx) BeginRemoval(ctx context.Context, m storage.Removal) error {
	return t.change(ctx, "BeginRemoval", func(s *state) error {
		if err := s.users.remove(pair{m.Domain, m.User}); err != nil {
			return err
		}
		s.endCredentials(storage.CredentialsOf{Domain: m.Domain, User: m.User}, m.At, "user_removed")
		return s.removals.insert(pair{m.Domain, m.User}, m)
	})
}

func (t *tx) ContinueRemoval(ctx context.Context, m storage.Removal, limit int) (more bool, err error) {
	err = t.change(ctx, "ContinueRemoval", func(s *state) error {
		if strings.TrimSpace(m.User) == "" {
			return storage.ErrNotFound
		}
		for _, p := range parts {
			if p.stays {
				continue
			}
			for _, row := range page(p.rows(s, m.Domain, m.User), limit) {
				row.drop()
				limit--
			}
		}
		limit -= s.eraseAudit(m.Domain, m.User, limit)
		if more = limit <= 0; !more {
			drop(&s.removals, pair{m.Domain, m.User})
		}
		return nil
	})
	return more, err
}

func (t *tx) PutTombstone(ctx context.Context, m storage.Tombstone) error {
	return t.change(ctx, "PutTombstone", func(s *state) error {
		k := mark{m.Domain, m.Mark}
		m.RemovedOn = m.RemovedOn.UTC().Truncate(24 * time.Hour)
		if there, ok := s.tombstones.find(k); ok {
			until := m.ExpiresAt
			if m = there; !m.ExpiresAt.IsZero() && (until.IsZero() || until.After(m.ExpiresAt)) {
				m.ExpiresAt = until
			}
		}
		s.tombstones.put(k, m)
		return nil
	})
}

func (t *tx) DeleteTombstone(ctx context.Context, domain string, m [32]byte) error {
	return t.change(ctx, "DeleteTombstone", func(s *state) error { return s.tombstones.remove(mark{domain, m}) })
}
