package simulation

import (
	"cmp"
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
)

// withdrawnGrace is how long a withdrawn statement is stored.
const withdrawnGrace = 2 * time.Hour

// A rule removes rows that expired before a time. Rows that never expire stay.
type rule func(s *state, now time.Time, keep storage.Retention) []found

func expired(at, before time.Time) bool { return !at.IsZero() && at.Before(before) }

// rules are in the order of a sweep.
var rules = []rule{
	func(s *state, now time.Time, _ storage.Retention) (rows []found) {
		for _, c := range s.codes.where(func(c storage.Code) bool { return expired(c.ExpiresAt, now) }, byCode) {
			rows = append(rows, found{drop: func() { s.dropCode(c) }})
		}
		return rows
	},
	func(s *state, now time.Time, _ storage.Retention) []found {
		return rowsOf(&s.logins, func(l storage.Login) bool { return expired(l.ExpiresAt, now) },
			func(a, b storage.Login) int { return compareHash(a.State, b.State) }, func(l storage.Login) hash { return l.State })
	},
	func(s *state, now time.Time, _ storage.Retention) []found {
		return rowsOf(&s.pushed, func(p storage.Pushed) bool { return expired(p.ExpiresAt, now) },
			func(a, b storage.Pushed) int { return compareHash(a.URI, b.URI) }, func(p storage.Pushed) hash { return p.URI })
	},
	func(s *state, now time.Time, _ storage.Retention) []found {
		return rowsOf(&s.statements, func(v rowedStatement) bool {
			return expired(v.ExpiresAt, now) || expired(v.WithdrawnAt, now.Add(-withdrawnGrace))
		}, byAge, func(v rowedStatement) string { return v.JTI })
	},
	func(s *state, now time.Time, _ storage.Retention) []found {
		return rowsOf(&s.spentIDs, func(v spent) bool { return expired(v.ExpiresAt, now.Add(-storage.SpentGrace)) },
			func(a, b spent) int {
				return cmp.Or(compare(a.Key.kind, b.Key.kind), compareHash(a.Key.key, b.Key.key))
			},
			func(v spent) once { return v.Key })
	},
	func(s *state, now time.Time, _ storage.Retention) []found {
		return rowsOf(&s.revocations, func(v storage.Revocation) bool { return expired(v.ExpiresAt, now) },
			func(a, b storage.Revocation) int { return cmp.Compare(a.Seq, b.Seq) },
			func(v storage.Revocation) revocationKey { return revocationKey{v.Kind, v.Key} })
	},
	func(s *state, now time.Time, keep storage.Retention) []found {
		if keep.Events <= 0 {
			return nil
		}
		return rowsOf(&s.events, func(e storage.UserEvent) bool { return expired(e.At, now.Add(-keep.Events)) },
			func(a, b storage.UserEvent) int {
				return cmp.Or(compare(a.Domain, b.Domain), compare(a.User, b.User), cmp.Compare(a.Number, b.Number))
			}, func(e storage.UserEvent) numbered { return numbered{e.Domain, e.User, e.Number} })
	},
	func(s *state, now time.Time, _ storage.Retention) []found {
		return rowsOf(&s.statusLists, func(l storage.StatusList) bool { return expired(l.ExpiresAt, now) },
			func(a, b storage.StatusList) int { return cmp.Compare(a.ID, b.ID) }, func(l storage.StatusList) int64 { return l.ID })
	},
	func(s *state, now time.Time, _ storage.Retention) []found {
		return rowsOf(&s.endedStatuses, func(e endedStatus) bool { return expired(e.ExpiresAt, now) }, func(a, b endedStatus) int {
			return cmp.Or(cmp.Compare(a.Entry.List, b.Entry.List), cmp.Compare(a.Entry.Index, b.Entry.Index))
		}, func(e endedStatus) storage.StatusEntry { return e.Entry })
	},
	func(s *state, now time.Time, _ storage.Retention) []found {
		return rowsOf(&s.credentials, func(c storage.Credential) bool { return expired(c.ExpiresAt, now.Add(-storage.CredentialGrace)) },
			byCredential, func(c storage.Credential) string { return c.ID })
	},
	func(s *state, now time.Time, _ storage.Retention) []found {
		return rowsOf(&s.credentialEnds, func(e credentialEnd) bool { return expired(e.ExpiresAt, now.Add(-storage.CredentialGrace)) },
			byNumber, func(e credentialEnd) storage.StatusEntry { return e.Entry })
	},
	func(s *state, now time.Time, _ storage.Retention) []found {
		return rowsOf(&s.certificateEnds, func(e certificateEnd) bool {
			return expired(e.End.ExpiresAt, now.Add(-storage.CredentialGrace))
		}, byEnd, func(e certificateEnd) string { return e.End.Serial })
	},
	func(s *state, now time.Time, _ storage.Retention) []found {
		return rowsOf(&s.logouts, func(l storage.Logout) bool { return expired(l.ExpiresAt, now) }, func(a, b storage.Logout) int {
			return cmp.Or(compare(a.Domain, b.Domain), compare(a.Issuer, b.Issuer), compare(a.Subject, b.Subject), compare(a.SID, b.SID))
		}, func(l storage.Logout) logout { return logout{l.Domain, l.Issuer, l.Subject, l.SID} })
	},
	func(s *state, now time.Time, _ storage.Retention) []found {
		return rowsOf(&s.kept, func(a storage.KeptAnswer) bool { return expired(a.ExpiresAt, now) },
			func(a, b storage.KeptAnswer) int { return compareHash(a.Key, b.Key) }, func(a storage.KeptAnswer) hash { return a.Key })
	},
	func(s *state, now time.Time, _ storage.Retention) (rows []found) {
		for _, b := range s.browsers.where(func(b storage.BrowserSession) bool { return expired(b.IdleAt, now) }, byBrowser) {
			rows = append(rows, found{drop: func() { s.dropBrowser(b) }})
		}
		return rows
	},
	func(s *state, now time.Time, _ storage.Retention) []found {
		return rowsOf(&s.tombstones, func(m storage.Tombstone) bool { return expired(m.ExpiresAt, now) },
			func(a, b storage.Tombstone) int {
				return cmp.Or(compare(a.Domain, b.Domain), compareHash(a.Mark, b.Mark))
			},
			func(m storage.Tombstone) mark { return mark{m.Domain, m.Mark} })
	},
	func(s *state, now time.Time, _ storage.Retention) (rows []found) {
		for _, c := range s.deviceCodes.where(func(c storage.DeviceCode) bool {
			return expired(c.ExpiresAt, now.Add(-storage.DeviceCodeGrace))
		}, byDeviceCode) {
			rows = append(rows, found{drop: func() { s.dropDeviceCode(c) }})
		}
		return rows
	},
	func(s *state, now time.Time, keep storage.Retention) []found {
		return rowsOf(&s.endedGrants, func(g storage.Grant) bool { return expired(g.EndedAt, now.Add(-keep.Sessions)) },
			func(a, b storage.Grant) int { return compare(a.ID, b.ID) }, func(g storage.Grant) string { return g.ID })
	},
	forgettable,
}

// forgettable returns the devices that are to be forgotten, each behind its former keys.
func forgettable(s *state, now time.Time, keep storage.Retention) (rows []found) {
	if keep.Devices <= 0 {
		return nil
	}
	for _, d := range s.devices.where(func(d storage.Device) bool { return expired(d.RemovedAt, now.Add(-keep.Devices)) },
		func(a, b storage.Device) int {
			return cmp.Or(a.RemovedAt.Compare(b.RemovedAt), compare(a.Domain, b.Domain), compare(a.ID, b.ID))
		}) {
		for _, k := range s.rekeysOf(d.Domain, d.ID) {
			rows = append(rows, found{drop: func() {
				s.removedKeys.put(pair{d.Domain, k.OldJKT}, removedKey{Domain: d.Domain, JKT: k.OldJKT, Device: d.ID, User: d.User})
				drop(&s.rekeys, pair{d.Domain, k.OldJKT})
			}})
		}
		rows = append(rows, found{drop: func() {
			s.removedKeys.put(pair{d.Domain, d.JKT}, removedKey{d.Domain, d.JKT, d.ID, d.User, d.Delegation, d.Number})
			drop(&s.devices, pair{d.Domain, d.ID})
		}})
	}
	return rows
}

func (t *tx) Sweep(ctx context.Context, now time.Time, keep storage.Retention, from storage.SweepPosition, limit int,
) (next storage.SweepPosition, removed int, err error) {
	now = whole(now)
	err = t.change(ctx, "Sweep", func(s *state) error {
		from.Table = max(from.Table, 1) // numbered from 1, so that only the end is the zero position
		switch {
		case from.Table > len(rules)+1 || limit <= 0:
			return nil
		case from.Table > len(rules):
			next, removed = s.sweepGrants(now, keep, from, limit)
			return nil
		}
		for _, row := range page(rules[from.Table-1](s, now, keep), limit) {
			row.drop()
			removed++
		}
		if next = from; removed < limit {
			next.Table++
		}
		return nil
	})
	return next, removed, err
}

// sweepGrants removes grants among the next ones in the order of insertion.
func (s *state) sweepGrants(now time.Time, keep storage.Retention, from storage.SweepPosition, limit int) (storage.SweepPosition, int) {
	list := page(s.grants.where(func(g rowedGrant) bool { return g.Row > from.Row },
		func(a, b rowedGrant) int { return cmp.Compare(a.Row, b.Row) }), limit)
	removed := 0
	for _, g := range list {
		over := expired(g.EndedAt, now) || expired(g.IdleAt, now) || expired(g.ExpiresAt, now)
		if !over || s.codes.any(func(c storage.Code) bool { return c.Grant == g.ID }) {
			continue
		}
		if keep.Sessions > 0 {
			s.endedGrants.put(g.ID, ended(g.Grant))
		}
		drop(&s.grants, g.ID)
		s.release(g.UpstreamToken)
		removed++
	}
	if len(list) < limit {
		return storage.SweepPosition{}, removed
	}
	return storage.SweepPosition{Table: from.Table, Row: list[len(list)-1].Row}, removed
}

// ended returns a grant that ended or expired as it is kept.
func ended(g storage.Grant) storage.Grant {
	if g.EndedAt.IsZero() {
		g.EndedAt, g.EndedReason = g.IdleAt, "expired"
		if g.EndedAt.IsZero() || !g.ExpiresAt.IsZero() && g.ExpiresAt.Before(g.EndedAt) {
			g.EndedAt = g.ExpiresAt
		}
	}
	g.JKT, g.UpstreamSID, g.UpstreamToken, g.Gen, g.Status = "", "", "", 0, storage.StatusEntry{}
	g.IdleAt, g.ExpiresAt = time.Time{}, time.Time{}
	return g
}
