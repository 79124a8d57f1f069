package simulation

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/storage"
)

// Reads of sessions and logins: the records of requests.

func (r *reader) Secret(ctx context.Context, name string) ([]byte, error) {
	return read(ctx, r, "Secret", func(s *state) ([]byte, error) {
		v, err := s.secrets.get(name)
		return v.Sealed, err
	})
}

func (r *reader) Secrets(ctx context.Context) ([]storage.Secret, error) {
	return list(ctx, r, "Secrets", func(s *state) []storage.Secret {
		return s.secrets.where(func(storage.Secret) bool { return true },
			func(a, b storage.Secret) int { return strings.Compare(a.Name, b.Name) })
	})
}

func (r *reader) SigningKeys(ctx context.Context) ([]storage.SigningKey, error) {
	return list(ctx, r, "SigningKeys", func(s *state) (keys []storage.SigningKey) {
		for _, k := range s.signingKeys.where(func(rowedKey) bool { return true }, func(a, b rowedKey) int {
			return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.Row, b.Row))
		}) {
			keys = append(keys, k.SigningKey)
		}
		return keys
	})
}

func (r *reader) Session(ctx context.Context, id string) (storage.Grant, storage.User, storage.Device, error) {
	type session struct {
		grant  storage.Grant
		user   storage.User
		device storage.Device
	}
	v, err := read(ctx, r, "Session", func(s *state) (session, error) {
		g, ok := s.grants.find(id)
		if !ok {
			return session{}, storage.ErrNotFound
		}
		u, err := s.users.get(pair{g.Domain, g.User})
		if err != nil {
			return session{}, err
		}
		d, err := s.devices.get(pair{g.Domain, g.Device})
		if err != nil {
			return session{}, err
		}
		return session{g.Grant, u, d}, nil
	})
	return v.grant, v.user, v.device, err
}

func (r *reader) Code(ctx context.Context, h [32]byte) (storage.Code, error) {
	return read(ctx, r, "Code", func(s *state) (storage.Code, error) { return s.codes.get(h) })
}

func (r *reader) DeviceCode(ctx context.Context, h [32]byte) (storage.DeviceCode, error) {
	return read(ctx, r, "DeviceCode", func(s *state) (storage.DeviceCode, error) { return s.deviceCodes.get(h) })
}

func (r *reader) DeviceCodeOf(ctx context.Context, userCode [32]byte) (storage.DeviceCode, error) {
	return read(ctx, r, "DeviceCodeOf", func(s *state) (storage.DeviceCode, error) {
		found := s.deviceCodes.where(func(c storage.DeviceCode) bool { return c.UserCode == userCode },
			func(a, b storage.DeviceCode) int { return compareHash(a.Hash, b.Hash) })
		if len(found) == 0 {
			return storage.DeviceCode{}, storage.ErrNotFound
		}
		return found[0], nil
	})
}

func (r *reader) Login(ctx context.Context, h [32]byte) (storage.Login, error) {
	return read(ctx, r, "Login", func(s *state) (storage.Login, error) { return s.logins.get(h) })
}

func (r *reader) Pushed(ctx context.Context, uri [32]byte) (storage.Pushed, error) {
	return read(ctx, r, "Pushed", func(s *state) (storage.Pushed, error) { return s.pushed.get(uri) })
}

func (r *reader) UpstreamToken(ctx context.Context, id string) (storage.UpstreamToken, error) {
	return read(ctx, r, "UpstreamToken", func(s *state) (storage.UpstreamToken, error) { return s.upstream.get(id) })
}

func (r *reader) LoggedOut(ctx context.Context, domain, issuer, subject, sid string, since time.Time) (bool, error) {
	since = whole(since)
	return list(ctx, r, "LoggedOut", func(s *state) bool {
		return s.logouts.any(func(l storage.Logout) bool {
			if l.Domain != domain || l.Issuer != issuer || l.At.Before(since) {
				return false
			}
			return l.Subject == subject && (l.SID == "" || sid == "" || l.SID == sid) || sid != "" && l.Subject == "" && l.SID == sid
		})
	})
}

func (r *reader) BrowserSession(ctx context.Context, h [32]byte) (storage.BrowserSession, storage.User, error) {
	s, err := r.begin(ctx, "BrowserSession")
	if err != nil {
		return storage.BrowserSession{}, storage.User{}, err
	}
	b, err := s.browsers.get(h)
	if err != nil {
		return storage.BrowserSession{}, storage.User{}, err
	}
	u, err := s.users.get(pair{b.Domain, b.User})
	if err != nil {
		b = storage.BrowserSession{}
	}
	return b, u, err
}

func (r *reader) BrowserSessions(ctx context.Context, domain, user string) ([]storage.BrowserSession, error) {
	return list(ctx, r, "BrowserSessions", func(s *state) []storage.BrowserSession { return s.browsersOf(domain, user) })
}

func (s *state) browsersOf(domain, user string) []storage.BrowserSession {
	return s.browsers.where(func(b storage.BrowserSession) bool { return b.Domain == domain && b.User == user },
		func(a, b storage.BrowserSession) int {
			return cmp.Or(a.UsedAt.Compare(b.UsedAt), compareHash(a.Hash, b.Hash))
		})
}

func (r *reader) Statement(ctx context.Context, jti string) (storage.Statement, error) {
	return read(ctx, r, "Statement", func(s *state) (storage.Statement, error) {
		v, err := s.statements.get(jti)
		return s.shown(v.Statement), err
	})
}

func (r *reader) Statements(ctx context.Context, domain, user string) ([]storage.Statement, error) {
	return list(ctx, r, "Statements", func(s *state) []storage.Statement {
		return s.statementsWhere(func(v rowedStatement) bool { return v.Domain == domain && (user == "" || v.User == user) },
			func(a, b rowedStatement) int {
				return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.Row, b.Row))
			})
	})
}

func (r *reader) StatementsAfter(ctx context.Context, domain, user, after string, limit int) ([]storage.Statement, error) {
	return list(ctx, r, "StatementsAfter", func(s *state) []storage.Statement {
		return page(s.statementsWhere(func(v rowedStatement) bool {
			return v.Domain == domain && (user == "" || v.User == user) && v.JTI > after
		}, func(a, b rowedStatement) int { return strings.Compare(a.JTI, b.JTI) }), limit)
	})
}

func (r *reader) StandingStatements(ctx context.Context, domain, user, typ string, now time.Time, after storage.StatementCursor, limit int,
) ([]storage.Statement, error) {
	now, after.CreatedAt = whole(now), whole(after.CreatedAt)
	return list(ctx, r, "StandingStatements", func(s *state) (found []storage.Statement) {
		for _, v := range s.statementsWhere(func(v rowedStatement) bool {
			return v.Domain == domain && v.User == user && (typ == "" || v.Type == typ) &&
				byCreation(v.CreatedAt, after.CreatedAt, v.JTI, after.JTI) > 0
		}, byAge) {
			if stands(&v, now) {
				found = append(found, v)
			}
		}
		return page(found, limit)
	})
}

func byAge(a, b rowedStatement) int { return byCreation(a.CreatedAt, b.CreatedAt, a.JTI, b.JTI) }

func (r *reader) CountStatements(ctx context.Context, domain, user string, now time.Time, limit int) (int, error) {
	now = whole(now)
	return list(ctx, r, "CountStatements", func(s *state) (n int) {
		for _, v := range s.statementsWhere(func(v rowedStatement) bool {
			return v.Domain == domain && v.User == user && v.Device != ""
		}, byAge) {
			if stands(&v, now) {
				n++
			}
		}
		return min(n, max(limit, 0))
	})
}

func (r *reader) Withdrawal(ctx context.Context) (storage.Withdrawal, error) {
	return read(ctx, r, "Withdrawal", func(s *state) (storage.Withdrawal, error) {
		found := s.withdrawals.where(func(storage.Withdrawal) bool { return true },
			func(a, b storage.Withdrawal) int { return cmp.Compare(a.ID, b.ID) })
		if len(found) == 0 {
			return storage.Withdrawal{}, storage.ErrNotFound
		}
		return found[0], nil
	})
}

func (r *reader) Covered(ctx context.Context, w storage.Withdrawal, limit int) ([]storage.Statement, error) {
	return list(ctx, r, "Covered", func(s *state) []storage.Statement {
		return page(s.statementsWhere(func(v rowedStatement) bool {
			return v.WithdrawnAt.IsZero() && covers(&w, &v.Statement)
		}, byAge), limit)
	})
}

func (r *reader) CountRevocations(ctx context.Context, owner string, now time.Time, limit int) (int, error) {
	now = whole(now)
	return list(ctx, r, "CountRevocations", func(s *state) int {
		return s.revocations.count(func(v storage.Revocation) bool {
			return v.Owner == owner && owner != "" && (v.ExpiresAt.IsZero() || v.ExpiresAt.After(now))
		}, limit)
	})
}

func (r *reader) Client(ctx context.Context, id string) (storage.Client, error) {
	return read(ctx, r, "Client", func(s *state) (storage.Client, error) { return s.clients.get(id) })
}

func (r *reader) ClientsRegisteredWith(ctx context.Context, name string) (int, error) {
	return list(ctx, r, "ClientsRegisteredWith", func(s *state) int {
		return s.clients.count(func(c storage.Client) bool { return c.RegisteredWith == name && c.RemovedAt.IsZero() }, 1<<30)
	})
}

func (r *reader) Clients(ctx context.Context, after int64) ([]storage.Client, error) {
	return list(ctx, r, "Clients", func(s *state) []storage.Client {
		return s.clients.where(func(c storage.Client) bool { return c.Seq > after },
			func(a, b storage.Client) int { return cmp.Compare(a.Seq, b.Seq) })
	})
}

func (r *reader) KeptAnswer(ctx context.Context, key [32]byte) (storage.KeptAnswer, error) {
	return read(ctx, r, "KeptAnswer", func(s *state) (storage.KeptAnswer, error) { return s.kept.get(key) })
}

func (r *reader) Revocation(ctx context.Context, kind storage.RevocationKind, key string) (storage.Revocation, error) {
	return read(ctx, r, "Revocation", func(s *state) (storage.Revocation, error) { return s.revocations.get(revocationKey{kind, key}) })
}

func (r *reader) Revocations(ctx context.Context, after int64, limit int) ([]storage.Revocation, int64, error) {
	s, err := r.begin(ctx, "Revocations")
	if err != nil {
		return nil, 0, err
	}
	last, _ := s.counters.find("revocation")
	found := s.revocations.where(func(v storage.Revocation) bool { return v.Seq > after },
		func(a, b storage.Revocation) int { return cmp.Compare(a.Seq, b.Seq) })
	if r.store.db.broken == NumbersBeforeCommit { // the counter is not used
		for _, v := range s.revocations.rows {
			last = max(last, v.Seq)
		}
	}
	if n := len(found); n > 0 {
		last = max(last, found[n-1].Seq)
	}
	if limit > 0 {
		found = page(found, limit)
	}
	return found, last, nil
}

func (r *reader) StatusList(ctx context.Context, id int64) (storage.StatusList, error) {
	return read(ctx, r, "StatusList", func(s *state) (storage.StatusList, error) { return s.statusLists.get(id) })
}

func (r *reader) EndedStatuses(ctx context.Context, id int64, now time.Time) ([]int, error) {
	now = whole(now)
	return list(ctx, r, "EndedStatuses", func(s *state) []int {
		var ended []int
		for _, e := range s.endedStatuses.where(func(e endedStatus) bool { return e.Entry.List == id && e.ExpiresAt.After(now) },
			func(a, b endedStatus) int { return cmp.Compare(a.Entry.Index, b.Entry.Index) }) {
			ended = append(ended, e.Entry.Index)
		}
		return ended
	})
}

func (r *reader) AuditNodes(ctx context.Context) ([]string, error) {
	return list(ctx, r, "AuditNodes", func(s *state) (nodes []string) {
		for _, a := range s.audit.where(func(storage.AuditRecord) bool { return true }, byNode) {
			nodes = append(nodes, a.Node)
		}
		return slices.Compact(nodes)
	})
}

func byNode(a, b storage.AuditRecord) int {
	return cmp.Or(strings.Compare(a.Node, b.Node), cmp.Compare(a.Seq, b.Seq))
}

func (r *reader) AuditHead(ctx context.Context, node string) (storage.AuditHead, error) {
	return list(ctx, r, "AuditHead", func(s *state) storage.AuditHead {
		h, _ := s.auditHeads.find(node)
		return h
	})
}

func (r *reader) AuditRecords(ctx context.Context, node string, after int64, limit int) ([]storage.AuditRecord, error) {
	return list(ctx, r, "AuditRecords", func(s *state) []storage.AuditRecord {
		return page(s.audit.where(func(a storage.AuditRecord) bool { return a.Node == node && a.Seq > after }, byNode), limit)
	})
}

func (r *reader) UserAuditRecords(ctx context.Context, domain, user string, after storage.AuditCursor, limit int,
) ([]storage.AuditRecord, error) {
	return list(ctx, r, "UserAuditRecords", func(s *state) []storage.AuditRecord {
		return page(s.audit.where(func(a storage.AuditRecord) bool {
			return a.Domain == domain && a.User == user && user != "" &&
				byNode(a, storage.AuditRecord{Node: after.Node, Seq: after.Seq}) > 0
		}, byNode), limit)
	})
}

func (r *reader) SignedHeads(ctx context.Context, node string, after int64, limit int) ([]storage.SignedHead, error) {
	return list(ctx, r, "SignedHeads", func(s *state) []storage.SignedHead { return page(s.headsOf(node, after), limit) })
}

func (s *state) headsOf(node string, after int64) []storage.SignedHead {
	return s.signedHeads.where(func(h storage.SignedHead) bool { return h.Node == node && h.Seq > after },
		func(a, b storage.SignedHead) int { return cmp.Compare(a.Seq, b.Seq) })
}

func (r *reader) LastSignedHead(ctx context.Context, node string) (storage.SignedHead, error) {
	return read(ctx, r, "LastSignedHead", func(s *state) (storage.SignedHead, error) {
		heads := s.headsOf(node, 0)
		if len(heads) == 0 {
			return storage.SignedHead{}, storage.ErrNotFound
		}
		return heads[len(heads)-1], nil
	})
}

func (r *reader) Newest(ctx context.Context) (time.Time, error) {
	return list(ctx, r, "Newest", func(s *state) time.Time {
		t, _ := s.times.find("newest")
		return t
	})
}

func (r *reader) Waiting(ctx context.Context) (int, error) {
	return list(ctx, r, "Waiting", func(s *state) int {
		return s.logins.count(func(storage.Login) bool { return true }, 1<<30) +
			s.pushed.count(func(storage.Pushed) bool { return true }, 1<<30) +
			s.deviceCodes.count(func(storage.DeviceCode) bool { return true }, 1<<30)
	})
}

func (r *reader) Census(ctx context.Context, now time.Time) (storage.Census, error) {
	now = whole(now)
	return list(ctx, r, "Census", func(s *state) storage.Census {
		return storage.Census{
			Users:    s.users.count(func(storage.User) bool { return true }, 1<<30),
			Devices:  s.devices.count(func(d storage.Device) bool { return d.RemovedAt.IsZero() }, 1<<30),
			Sessions: s.grants.count(func(g rowedGrant) bool { return live(&g.Grant, now) }, 1<<30),
		}
	})
}
