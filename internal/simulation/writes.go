package simulation

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/imidentity/issuer/storage"
)

func (t *tx) PutSecret(ctx context.Context, name string, sealed []byte) error {
	return t.change(ctx, "PutSecret", func(s *state) error {
		s.secrets.put(name, storage.Secret{Name: name, Sealed: sealed})
		return nil
	})
}

func (t *tx) DeleteSecret(ctx context.Context, name string) error {
	return t.change(ctx, "DeleteSecret", func(s *state) error { return s.secrets.remove(name) })
}

func (t *tx) SetNewest(ctx context.Context, at time.Time) error {
	return t.change(ctx, "SetNewest", func(s *state) error { s.times.put("newest", at); return nil })
}

func (t *tx) BeginHistory(ctx context.Context, above int64) error {
	return t.change(ctx, "BeginHistory", func(s *state) error {
		if last, _ := s.counters.find("revocation"); last <= above {
			s.counters.put("revocation", storage.FirstOf(storage.History(max(last, above))+1))
		}
		return nil
	})
}

func (t *tx) InsertSigningKey(ctx context.Context, k storage.SigningKey) error {
	return t.change(ctx, "InsertSigningKey", func(s *state) error {
		k.Life = k.Life.Truncate(time.Millisecond)
		return s.signingKeys.insert(k.KID, rowedKey{k, t.store.db.rows.Add(1)})
	})
}

func (t *tx) UpdateSigningKey(ctx context.Context, k storage.SigningKey) error {
	return t.change(ctx, "UpdateSigningKey", func(s *state) error {
		there, err := s.signingKeys.get(k.KID)
		if err != nil {
			return err
		}
		k.Life = k.Life.Truncate(time.Millisecond)
		s.signingKeys.put(k.KID, rowedKey{k, there.Row})
		return nil
	})
}

func (t *tx) InsertUser(ctx context.Context, u storage.User) error {
	return t.change(ctx, "InsertUser", func(s *state) error { return s.users.insert(pair{u.Domain, u.ID}, u) })
}

func (t *tx) UpdateUser(ctx context.Context, u storage.User) error {
	return t.change(ctx, "UpdateUser", func(s *state) error {
		there, err := s.users.get(pair{u.Domain, u.ID})
		if err != nil {
			return err
		}
		s.users.put(pair{u.Domain, u.ID}, u)
		if there.Handle != u.Handle {
			at, _ := s.times.find("newest")
			s.endHandles(u.Domain, u.ID, at)
		}
		if there.DisabledAt.IsZero() && !u.DisabledAt.IsZero() {
			s.endCredentials(storage.CredentialsOf{Domain: u.Domain, User: u.ID}, u.DisabledAt, "user_disabled")
		}
		return nil
	})
}

func (t *tx) InsertLink(ctx context.Context, l storage.Link) error {
	return t.change(ctx, "InsertLink", func(s *state) error { return s.links.insert(link{l.Domain, l.Issuer, l.Subject}, l) })
}

func (t *tx) DeleteLink(ctx context.Context, domain, issuer, subject string) error {
	return t.change(ctx, "DeleteLink", func(s *state) error { return s.links.remove(link{domain, issuer, subject}) })
}

// heldByOther reports whether a name under another key with the same Local is held.
func (s *state) heldByOther(n storage.Name) bool {
	return n.ReleasedAt.IsZero() && s.names.any(func(o storage.Name) bool {
		return o.Domain == n.Domain && o.Local == n.Local && o.Key != n.Key && o.ReleasedAt.IsZero()
	})
}

func (t *tx) InsertName(ctx context.Context, n storage.Name) error {
	return t.change(ctx, "InsertName", func(s *state) error {
		if s.heldByOther(n) {
			return storage.ErrConflict
		}
		return s.names.insert(pair{n.Domain, n.Key}, n)
	})
}

func (t *tx) UpdateName(ctx context.Context, n storage.Name) error {
	return t.change(ctx, "UpdateName", func(s *state) error {
		if !s.names.has(pair{n.Domain, n.Key}) {
			return storage.ErrNotFound
		}
		if s.heldByOther(n) {
			return storage.ErrConflict
		}
		return s.names.replace(pair{n.Domain, n.Key}, n)
	})
}

func (t *tx) RenameKey(ctx context.Context, n storage.Name, key string) error {
	return t.change(ctx, "RenameKey", func(s *state) error {
		there, err := s.names.get(pair{n.Domain, n.Key})
		if err != nil {
			return err
		}
		if key != n.Key && s.names.has(pair{n.Domain, key}) {
			return storage.ErrConflict
		}
		there.Tables = n.Tables
		if key != n.Key {
			if err := s.names.remove(pair{n.Domain, n.Key}); err != nil {
				return err
			}
		}
		there.Key = key
		s.names.put(pair{n.Domain, key}, there)
		return nil
	})
}

func (t *tx) DeleteName(ctx context.Context, domain, key string) error {
	return t.change(ctx, "DeleteName", func(s *state) error {
		n, err := s.names.get(pair{domain, key})
		if err != nil {
			return err
		}
		for _, c := range s.credentials.where(func(c storage.Credential) bool {
			return c.Domain == domain && c.User == n.User && c.Handle == n.Local && !(c.EndedAt.IsZero() && c.HandleEndedAt.IsZero())
		}, byCredential) {
			c.Handle = ""
			s.credentials.put(c.ID, c)
		}
		return s.names.remove(pair{domain, key})
	})
}

func (t *tx) InsertDevice(ctx context.Context, d storage.Device) error {
	return t.change(ctx, "InsertDevice", func(s *state) error {
		taken := s.keyTaken(d.Domain, d.JKT) || s.devices.any(func(o storage.Device) bool {
			return o.Domain == d.Domain && d.Delegation != "" && o.Delegation == d.Delegation && o.Number == d.Number
		}) || s.removedKeys.any(func(k removedKey) bool {
			return k.Domain == d.Domain && (k.Device == d.ID || d.Delegation != "" && k.Delegation == d.Delegation && k.Number == d.Number)
		})
		if taken {
			return storage.ErrConflict
		}
		return s.devices.insert(pair{d.Domain, d.ID}, d)
	})
}

// keyTaken reports whether a key was ever used by a device of a domain.
func (s *state) keyTaken(domain, jkt string) bool {
	return s.devices.any(func(o storage.Device) bool { return o.Domain == domain && o.JKT == jkt }) ||
		s.rekeys.has(pair{domain, jkt}) || s.removedKeys.has(pair{domain, jkt})
}

func (t *tx) UpdateDevice(ctx context.Context, d storage.Device) error {
	return t.change(ctx, "UpdateDevice", func(s *state) error {
		there, err := s.devices.get(pair{d.Domain, d.ID})
		if err == nil && there.JKT != d.JKT && s.keyTaken(d.Domain, d.JKT) {
			return storage.ErrConflict
		}
		if err != nil {
			return err
		}
		s.devices.put(pair{d.Domain, d.ID}, d)
		if there.RemovedAt.IsZero() && !d.RemovedAt.IsZero() && t.store.db.broken != KeepsCredentials {
			s.endCredentials(storage.CredentialsOf{Domain: d.Domain, Device: d.ID}, d.RemovedAt, "device_removed")
		}
		return nil
	})
}

func (t *tx) RekeyDevice(ctx context.Context, k storage.Rekey) error {
	return t.change(ctx, "RekeyDevice", func(s *state) error {
		d, err := s.devices.get(pair{k.Domain, k.Device})
		if err != nil {
			return err
		}
		if d.JKT != k.OldJKT || !d.RemovedAt.IsZero() || s.keyTaken(k.Domain, k.NewJKT) {
			return storage.ErrConflict
		}
		d.JKT, d.Alg = k.NewJKT, k.Alg
		s.devices.put(pair{k.Domain, k.Device}, d)
		s.rekeys.put(pair{k.Domain, k.OldJKT}, numberedRekey{k, len(s.rekeysOf(k.Domain, k.Device)) + 1})
		for _, g := range s.liveWhere(func(g *storage.Grant) bool { return g.Domain == k.Domain && g.Device == k.Device }) {
			g.JKT = k.NewJKT
			s.grants.put(g.ID, g)
		}
		s.endCredentials(storage.CredentialsOf{Domain: k.Domain, Device: k.Device}, k.At, "rekeyed")
		return nil
	})
}

func (t *tx) InsertUserEvent(ctx context.Context, e storage.UserEvent) error {
	return t.change(ctx, "InsertUserEvent", func(s *state) error {
		last, _ := s.eventNumbers.find(pair{e.Domain, e.User})
		e.Number = last + 1
		s.eventNumbers.put(pair{e.Domain, e.User}, e.Number)
		return s.events.insert(numbered{e.Domain, e.User, e.Number}, e)
	})
}

func (t *tx) InsertClient(ctx context.Context, c storage.Client) error {
	return t.change(ctx, "InsertClient", func(s *state) error {
		if s.clients.has(c.ID) {
			return storage.ErrConflict
		}
		c.Seq = s.next("client")
		return s.clients.insert(c.ID, c)
	})
}

func (t *tx) UpdateClient(ctx context.Context, c storage.Client) error {
	return t.change(ctx, "UpdateClient", func(s *state) error {
		if !s.clients.has(c.ID) {
			return storage.ErrNotFound
		}
		c.Seq = s.next("client")
		return s.clients.replace(c.ID, c)
	})
}

func (t *tx) InsertCode(ctx context.Context, c storage.Code) error {
	return t.change(ctx, "InsertCode", func(s *state) error { return s.codes.insert(c.Hash, c) })
}

func (t *tx) SpendCode(ctx context.Context, h [32]byte, at time.Time, grant string) error {
	return t.change(ctx, "SpendCode", func(s *state) error {
		c, err := s.codes.get(h)
		switch {
		case err != nil:
			return err
		case !c.SpentAt.IsZero() && t.store.db.broken != SpendsCodeTwice:
			return storage.ErrConflict
		}
		c.SpentAt, c.Grant = at, grant
		s.codes.put(h, c)
		return nil
	})
}

func (t *tx) InsertLogin(ctx context.Context, l storage.Login) error {
	return t.change(ctx, "InsertLogin", func(s *state) error { return s.logins.insert(l.State, l) })
}

func (t *tx) TakeLogin(ctx context.Context, h [32]byte) (l storage.Login, err error) {
	err = t.change(ctx, "TakeLogin", func(s *state) (err error) {
		if l, err = s.logins.get(h); err != nil {
			return err
		}
		return s.logins.remove(h)
	})
	return l, err
}

func (t *tx) InsertPushed(ctx context.Context, p storage.Pushed) error {
	return t.change(ctx, "InsertPushed", func(s *state) error { return s.pushed.insert(p.URI, p) })
}

func (t *tx) TakePushed(ctx context.Context, uri [32]byte) error {
	return t.change(ctx, "TakePushed", func(s *state) error { return s.pushed.remove(uri) })
}

func (t *tx) InsertDeviceCode(ctx context.Context, c storage.DeviceCode) error {
	return t.change(ctx, "InsertDeviceCode", func(s *state) error {
		if s.deviceCodes.any(func(o storage.DeviceCode) bool { return o.UserCode == c.UserCode }) {
			return storage.ErrConflict
		}
		return s.deviceCodes.insert(c.Hash, c)
	})
}

// changeDeviceCode changes a device code that may be changed.
func (t *tx) changeDeviceCode(ctx context.Context, op string, h hash, change func(c *storage.DeviceCode) bool) error {
	return t.change(ctx, op, func(s *state) error {
		c, err := s.deviceCodes.get(h)
		if err != nil {
			return err
		}
		if !change(&c) {
			return storage.ErrConflict
		}
		s.deviceCodes.put(h, c)
		return nil
	})
}

func (t *tx) BindDeviceCode(ctx context.Context, h [32]byte, jkt string) error {
	return t.changeDeviceCode(ctx, "BindDeviceCode", h, func(c *storage.DeviceCode) bool {
		ok := c.JKT == "" || c.JKT == jkt
		c.JKT = jkt
		return ok
	})
}

func (t *tx) DecideDeviceCode(ctx context.Context, d storage.DeviceCode) error {
	return t.changeDeviceCode(ctx, "DecideDeviceCode", d.Hash, func(c *storage.DeviceCode) bool {
		ok := c.DecidedAt.IsZero()
		c.DecidedAt, c.Allowed, c.Domain, c.User, c.Device = d.DecidedAt, d.Allowed, d.Domain, d.User, d.Device
		c.Issuer, c.UpstreamSID, c.AuthTime, c.ACR, c.AMR = d.Issuer, d.UpstreamSID, d.AuthTime, d.ACR, d.AMR
		c.UpstreamToken = d.UpstreamToken
		return ok
	})
}

func (t *tx) SpendDeviceCode(ctx context.Context, h [32]byte, jkt string, at time.Time, grant string) error {
	return t.changeDeviceCode(ctx, "SpendDeviceCode", h, func(c *storage.DeviceCode) bool {
		ok := (c.JKT == "" || c.JKT == jkt) && c.Allowed && c.SpentAt.IsZero()
		c.JKT, c.SpentAt, c.Grant = jkt, at, grant
		return ok
	})
}

func (t *tx) InsertBrowserSession(ctx context.Context, b storage.BrowserSession) error {
	return t.change(ctx, "InsertBrowserSession", func(s *state) error { return s.browsers.insert(b.Hash, b) })
}

func (t *tx) TouchBrowserSession(ctx context.Context, h [32]byte, used, idle time.Time) error {
	return t.change(ctx, "TouchBrowserSession", func(s *state) error {
		b, err := s.browsers.get(h)
		b.UsedAt, b.IdleAt = used, idle
		if err == nil {
			s.browsers.put(h, b)
		}
		return err
	})
}

func (t *tx) DeleteBrowserSession(ctx context.Context, h [32]byte) error {
	return t.change(ctx, "DeleteBrowserSession", func(s *state) error {
		b, err := s.browsers.get(h)
		if err == nil {
			s.dropBrowser(b)
		}
		return err
	})
}

func (t *tx) TrimBrowserSessions(ctx context.Context, domain, user string, keep int) error {
	return t.change(ctx, "TrimBrowserSessions", func(s *state) error { s.trimBrowsers(domain, user, keep); return nil })
}

func (s *state) trimBrowsers(domain, user string, keep int) {
	there := s.browsersOf(domain, user)
	for _, b := range there[:max(len(there)-max(keep, 0), 0)] {
		s.dropBrowser(b)
	}
}

func (t *tx) InsertStatement(ctx context.Context, v storage.Statement) error {
	return t.change(ctx, "InsertStatement", func(s *state) error {
		return s.statements.insert(v.JTI, rowedStatement{v, t.store.db.rows.Add(1)})
	})
}

func (t *tx) WithdrawStatement(ctx context.Context, jti string, at time.Time, reason string) error {
	return t.change(ctx, "WithdrawStatement", func(s *state) error {
		v, err := s.statements.get(jti)
		if err == nil && v.WithdrawnAt.IsZero() {
			v.WithdrawnAt, v.WithdrawnReason = at, reason
			s.statements.put(jti, v)
		}
		return err
	})
}

func (t *tx) DeleteStatement(ctx context.Context, jti string) error {
	return t.change(ctx, "DeleteStatement", func(s *state) error { return s.statements.remove(jti) })
}

func (t *tx) BeginWithdrawal(ctx context.Context, w storage.Withdrawal) error {
	return t.change(ctx, "BeginWithdrawal", func(s *state) error {
		w.ID = s.next("withdrawal")
		return s.withdrawals.insert(w.ID, w)
	})
}

func (t *tx) FinishWithdrawal(ctx context.Context, id int64) error {
	return t.change(ctx, "FinishWithdrawal", func(s *state) error { return s.withdrawals.remove(id) })
}

func (t *tx) SpendID(ctx context.Context, kind string, key [32]byte, until time.Time) error {
	return t.change(ctx, "SpendID", func(s *state) error {
		k := once{kind, key}
		return s.spentIDs.insert(k, spent{k, until})
	})
}

func (t *tx) KeepAnswer(ctx context.Context, a storage.KeptAnswer, now time.Time) error {
	return t.change(ctx, "KeepAnswer", func(s *state) error {
		if there, ok := s.kept.find(a.Key); ok && there.ExpiresAt.After(whole(now)) {
			return storage.ErrConflict
		}
		if a.Answer == nil {
			a.Answer = []byte{}
		}
		s.kept.put(a.Key, a)
		return nil
	})
}

func (t *tx) FillAnswer(ctx context.Context, key [32]byte, answer []byte) error {
	return t.change(ctx, "FillAnswer", func(s *state) error {
		a, err := s.kept.get(key)
		if a.Answer = answer; err == nil {
			s.kept.put(key, a)
		}
		return err
	})
}

func (t *tx) Revoke(ctx context.Context, r storage.Revocation) (storage.Revocation, error) {
	err := t.change(ctx, "Revoke", func(s *state) error {
		k := revocationKey{r.Kind, r.Key}
		r.At, r.ExpiresAt = whole(r.At), whole(r.ExpiresAt)
		if there, ok := s.revocations.find(k); ok {
			later := there.ExpiresAt.IsZero() || !r.ExpiresAt.IsZero() && !there.ExpiresAt.Before(r.ExpiresAt)
			if there.Gen >= r.Gen && later {
				r = there
				return nil
			}
			if r.Gen = max(r.Gen, there.Gen); later {
				r.ExpiresAt = there.ExpiresAt
			}
		}
		if t.store.db.broken == NumbersBeforeCommit {
			r.Seq = t.store.db.rows.Add(1)
		} else {
			r.Seq = s.next("revocation")
		}
		s.revocations.put(k, r)
		if domain, user, _ := strings.Cut(r.Key, "/"); r.Kind == storage.RevokeGen {
			for _, g := range s.liveWhere(func(g *storage.Grant) bool { return g.Domain == domain && g.User == user }) {
				s.endStatus(g.Status, r.At)
				g.Status = storage.StatusEntry{}
				s.grants.put(g.ID, g)
			}
		}
		return nil
	})
	return r, err
}

func (t *tx) InsertStatusList(ctx context.Context, l storage.StatusList) error {
	return t.change(ctx, "InsertStatusList", func(s *state) error { return s.statusLists.insert(l.ID, l) })
}

func (t *tx) TakeStatusEntries(
	ctx context.Context, kind storage.StatusKind, domain string, n int, until time.Time,
) (l storage.StatusList, err error) {
	err = t.change(ctx, "TakeStatusEntries", func(s *state) error {
		found := s.statusLists.where(func(l storage.StatusList) bool {
			return l.Kind == kind && l.Domain == domain && l.EndedAt.IsZero() && l.Used+n <= l.Available
		}, func(a, b storage.StatusList) int {
			return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID))
		})
		if len(found) == 0 {
			return storage.ErrNotFound
		}
		l = found[0]
		if l.Used += n; until.After(l.ExpiresAt) {
			l.ExpiresAt = whole(until)
		}
		s.statusLists.put(l.ID, l)
		return nil
	})
	return l, err
}

func (t *tx) SetGrantStatus(ctx context.Context, grant string, e storage.StatusEntry) error {
	return t.change(ctx, "SetGrantStatus", func(s *state) error {
		g, ok := s.grants.find(grant)
		if !ok || g.Status != (storage.StatusEntry{}) || !g.EndedAt.IsZero() {
			return storage.ErrConflict
		}
		g.Status = e
		s.grants.put(grant, g)
		until := g.ExpiresAt.Add(storage.StatusGrace)
		if g.ExpiresAt.IsZero() {
			until = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
		}
		if l, ok := s.statusLists.find(e.List); ok && until.After(l.ExpiresAt) {
			l.ExpiresAt = until
			s.statusLists.put(e.List, l)
		}
		return nil
	})
}

// endStatus records that an entry has ended.
func (s *state) endStatus(e storage.StatusEntry, at time.Time) {
	if e != (storage.StatusEntry{}) {
		s.endedStatuses.put(e, endedStatus{e, at.Add(storage.StatusGrace)})
	}
}

func (t *tx) AppendAudit(ctx context.Context, r storage.AuditRecord) error {
	return t.change(ctx, "AppendAudit", func(s *state) error {
		if head, _ := s.auditHeads.find(r.Node); r.Seq != head.Seq+1 {
			return storage.ErrConflict
		}
		s.auditHeads.put(r.Node, storage.AuditHead{Seq: r.Seq, Hash: r.Hash})
		return s.audit.insert(numbered{"", r.Node, r.Seq}, r)
	})
}

func (t *tx) EraseAudit(ctx context.Context, domain, user string, limit int) (n int, err error) {
	err = t.change(ctx, "EraseAudit", func(s *state) error { n = s.eraseAudit(domain, user, limit); return nil })
	return n, err
}

func (s *state) eraseAudit(domain, user string, limit int) int {
	found := page(s.audit.where(func(a storage.AuditRecord) bool {
		return a.Domain == domain && a.User == user && user != "" && a.Private != nil
	}, byNode), limit)
	for _, a := range found {
		a.Private = nil
		s.audit.put(numbered{"", a.Node, a.Seq}, a)
	}
	return len(found)
}

func (t *tx) EraseOldAudit(ctx context.Context, node string, before time.Time, limit int) (n int, err error) {
	before = whole(before)
	err = t.change(ctx, "EraseOldAudit", func(s *state) error {
		from, _ := s.auditErased.find(node)
		for _, a := range page(s.audit.where(func(a storage.AuditRecord) bool { return a.Node == node && a.Seq > from }, byNode), limit) {
			if !a.At.Before(before) {
				break
			}
			if a.Private != nil {
				a.Private = nil
				s.audit.put(numbered{"", node, a.Seq}, a)
			}
			n++
			s.auditErased.put(node, a.Seq)
		}
		return nil
	})
	return n, err
}

func (t *tx) InsertSignedHead(ctx context.Context, h storage.SignedHead) error {
	return t.change(ctx, "InsertSignedHead", func(s *state) error { return s.signedHeads.insert(numbered{"", h.Node, h.Seq}, h) })
}

func (t *tx) CutAudit(ctx context.Context, node string, upTo int64) (n int, err error) {
	err = t.change(ctx, "CutAudit", func(s *state) error {
		if head, _ := s.auditHeads.find(node); !s.signedHeads.has(numbered{"", node, upTo}) || head.Seq <= upTo {
			return storage.ErrConflict
		}
		for _, a := range s.audit.where(func(a storage.AuditRecord) bool { return a.Node == node && a.Seq <= upTo }, byNode) {
			if err := s.audit.remove(numbered{"", node, a.Seq}); err != nil {
				return err
			}
			n++
		}
		for _, h := range s.headsOf(node, 0) {
			if h.Seq < upTo {
				_ = s.signedHeads.remove(numbered{"", node, h.Seq})
			}
		}
		return nil
	})
	return n, err
}
