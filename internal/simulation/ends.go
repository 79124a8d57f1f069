package simulation

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
)

// What begins, continues and ends sessions.

func (t *tx) InsertGrant(ctx context.Context, g storage.Grant) error {
	return t.change(ctx, "InsertGrant", func(s *state) error { return s.grants.insert(g.ID, rowedGrant{g, t.store.db.rows.Add(1)}) })
}

func (t *tx) RotateGrant(ctx context.Context, id string, from int64, now, idle time.Time) error {
	return t.change(ctx, "RotateGrant", func(s *state) error {
		g, ok := s.grants.find(id)
		switch {
		case !ok:
			return storage.ErrConflict
		case t.store.db.broken == RotatesAnything:
		case g.Gen != from || !live(&g.Grant, whole(now)):
			return storage.ErrConflict
		}
		g.Gen, g.RotatedAt, g.IdleAt = g.Gen+1, now, idle
		s.grants.put(id, g)
		return nil
	})
}

func (t *tx) EndGrant(ctx context.Context, id string, at time.Time, reason string) error {
	return t.change(ctx, "EndGrant", func(s *state) error {
		g, err := s.grants.get(id)
		if err == nil && g.EndedAt.IsZero() {
			s.end(g, at, reason)
		}
		return err
	})
}

// liveWhere returns the grants that have not ended and match, in the order of their ids.
func (s *state) liveWhere(match func(g *storage.Grant) bool) []rowedGrant {
	return s.grants.where(func(g rowedGrant) bool { return g.EndedAt.IsZero() && match(&g.Grant) }, byGrant)
}

// end ends a grant that has not ended.
func (s *state) end(g rowedGrant, at time.Time, reason string) storage.Grant {
	g.EndedAt, g.EndedReason = whole(at), reason
	s.grants.put(g.ID, g)
	s.endStatus(g.Status, g.EndedAt)
	s.release(g.UpstreamToken)
	return g.Grant
}

// endWhere ends the grants that match, and returns them.
func (s *state) endWhere(at time.Time, reason string, match func(g *storage.Grant) bool) (ended []storage.Grant) {
	for _, g := range s.liveWhere(match) {
		ended = append(ended, s.end(g, at, reason))
	}
	return ended
}

func idsOf(grants []storage.Grant) (ids []string) {
	for _, g := range grants {
		ids = append(ids, g.ID)
	}
	return ids
}

// dropCodes deletes the unspent codes that match.
func (s *state) dropCodes(match func(c *storage.Code) bool) {
	for _, c := range s.codes.where(func(c storage.Code) bool { return c.SpentAt.IsZero() && match(&c) }, byCode) {
		s.dropCode(c)
	}
}

// dropDeviceCodes deletes the unspent device codes that match.
func (s *state) dropDeviceCodes(match func(c *storage.DeviceCode) bool) {
	for _, c := range s.deviceCodes.where(func(c storage.DeviceCode) bool { return c.SpentAt.IsZero() && match(&c) }, byDeviceCode) {
		s.dropDeviceCode(c)
	}
}

// dropBrowsers deletes the browser sessions that match.
func (s *state) dropBrowsers(match func(b *storage.BrowserSession) bool) {
	for _, b := range s.browsers.where(func(b storage.BrowserSession) bool { return match(&b) }, byBrowser) {
		s.dropBrowser(b)
	}
}

func byGrant(a, b rowedGrant) int               { return compare(a.ID, b.ID) }
func byCode(a, b storage.Code) int              { return compareHash(a.Hash, b.Hash) }
func byDeviceCode(a, b storage.DeviceCode) int  { return compareHash(a.Hash, b.Hash) }
func byBrowser(a, b storage.BrowserSession) int { return compareHash(a.Hash, b.Hash) }
func (s *state) dropCode(c storage.Code)        { drop(&s.codes, hash(c.Hash)); s.release(c.UpstreamToken) }
func (s *state) dropDeviceCode(c storage.DeviceCode) {
	drop(&s.deviceCodes, hash(c.Hash))
	s.release(c.UpstreamToken)
}
func (s *state) dropBrowser(b storage.BrowserSession) {
	drop(&s.browsers, hash(b.Hash))
	s.release(b.UpstreamToken)
}

// drop deletes a row that is there.
func drop[K comparable, V any](t *table[K, V], k K) { _ = t.remove(k) }

// release deletes an upstream token that nothing names any more.
func (s *state) release(id string) {
	if id == "" || s.grants.any(func(g rowedGrant) bool { return g.UpstreamToken == id && g.EndedAt.IsZero() }) ||
		s.codes.any(func(c storage.Code) bool { return c.UpstreamToken == id && c.SpentAt.IsZero() }) ||
		s.deviceCodes.any(func(c storage.DeviceCode) bool { return c.UpstreamToken == id && c.SpentAt.IsZero() }) ||
		s.browsers.any(func(b storage.BrowserSession) bool { return b.UpstreamToken == id }) {
		return
	}
	drop(&s.upstream, id)
}

func (t *tx) EndDeviceGrants(ctx context.Context, domain, device string, at time.Time, reason string) (ended []string, err error) {
	err = t.change(ctx, "EndDeviceGrants", func(s *state) error {
		ended = idsOf(s.endWhere(at, reason, func(g *storage.Grant) bool { return g.Domain == domain && g.Device == device }))
		s.dropDeviceCodes(func(c *storage.DeviceCode) bool { return c.Domain == domain && c.Device == device && device != "" })
		return nil
	})
	return ended, err
}

func (t *tx) EndUserGrants(ctx context.Context, domain, user string, at time.Time, reason string) (ended []string, err error) {
	err = t.change(ctx, "EndUserGrants", func(s *state) error {
		ended = idsOf(s.endWhere(at, reason, func(g *storage.Grant) bool { return g.Domain == domain && g.User == user }))
		s.dropCodes(func(c *storage.Code) bool {
			return c.Domain == domain && c.User == user && !c.ExpiresAt.Before(whole(at))
		})
		s.dropDeviceCodes(func(c *storage.DeviceCode) bool { return c.Domain == domain && c.User == user && user != "" })
		s.trimBrowsers(domain, user, 0)
		return nil
	})
	return ended, err
}

func (t *tx) EndLogin(ctx context.Context, l storage.Logout, at time.Time, reason string) (ended []storage.Grant, err error) {
	if l.Subject == "" && l.SID == "" {
		return nil, nil
	}
	// concerns reports whether the logout is about a login.
	concerns := func(domain, issuer, user, sid string) bool {
		switch {
		case domain != l.Domain || issuer != l.Issuer:
			return false
		case l.Subject == "":
			return sid == l.SID
		}
		return l.User != "" && user == l.User && (l.SID == "" || sid == "" || sid == l.SID)
	}
	err = t.change(ctx, "EndLogin", func(s *state) error {
		ended = s.endWhere(at, reason, func(g *storage.Grant) bool { return concerns(g.Domain, g.Issuer, g.User, g.UpstreamSID) })
		s.dropCodes(func(c *storage.Code) bool {
			return concerns(c.Domain, c.Issuer, c.User, c.UpstreamSID) && !c.ExpiresAt.Before(whole(at))
		})
		s.dropBrowsers(func(b *storage.BrowserSession) bool { return concerns(b.Domain, b.Issuer, b.User, b.UpstreamSID) })
		s.dropDeviceCodes(func(c *storage.DeviceCode) bool { return concerns(c.Domain, c.Issuer, c.User, c.UpstreamSID) })
		k := logout{l.Domain, l.Issuer, l.Subject, l.SID}
		if there, ok := s.logouts.find(k); ok {
			if there.At.After(l.At) {
				l.At = there.At
			}
			if there.ExpiresAt.After(l.ExpiresAt) {
				l.ExpiresAt = there.ExpiresAt
			}
		}
		l.User = ""
		s.logouts.put(k, l)
		return nil
	})
	return ended, err
}

func (t *tx) EndClientGrants(ctx context.Context, client string, at time.Time, reason string) (ended []string, err error) {
	err = t.change(ctx, "EndClientGrants", func(s *state) error {
		ended = idsOf(s.endWhere(at, reason, func(g *storage.Grant) bool { return g.Client == client }))
		return nil
	})
	return ended, err
}

func (t *tx) InsertUpstreamToken(ctx context.Context, u storage.UpstreamToken) error {
	return t.change(ctx, "InsertUpstreamToken", func(s *state) error { return s.upstream.insert(u.ID, u) })
}

func (t *tx) UpdateUpstreamToken(ctx context.Context, u storage.UpstreamToken) error {
	return t.change(ctx, "UpdateUpstreamToken", func(s *state) error {
		there, ok := s.upstream.find(u.ID)
		if !ok || there.Number != u.Number {
			return storage.ErrConflict
		}
		there.Sealed, there.State, there.CheckedAt, there.RetryAt = u.Sealed, u.State, u.CheckedAt, u.RetryAt
		there.Number++
		s.upstream.put(u.ID, there)
		return nil
	})
}

func (t *tx) EndUpstreamToken(ctx context.Context, id string, at time.Time, reason string) (ended []storage.Grant, err error) {
	if id == "" {
		return nil, nil
	}
	err = t.change(ctx, "EndUpstreamToken", func(s *state) error {
		ended = s.endWhere(at, reason, func(g *storage.Grant) bool { return g.UpstreamToken == id })
		s.dropCodes(func(c *storage.Code) bool { return c.UpstreamToken == id })
		s.dropDeviceCodes(func(c *storage.DeviceCode) bool { return c.UpstreamToken == id })
		s.dropBrowsers(func(b *storage.BrowserSession) bool { return b.UpstreamToken == id })
		drop(&s.upstream, id)
		return nil
	})
	return ended, err
}
