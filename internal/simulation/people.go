package simulation

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/imidentity/issuer/storage"
)

// Reads of users, their devices and their sessions.

func (r *reader) User(ctx context.Context, domain, id string) (storage.User, error) {
	return read(ctx, r, "User", func(s *state) (storage.User, error) { return s.users.get(pair{domain, id}) })
}

func byID(a, b storage.User) int { return strings.Compare(a.ID, b.ID) }

func (r *reader) Users(ctx context.Context, domain, after string, limit int) ([]storage.User, error) {
	return list(ctx, r, "Users", func(s *state) []storage.User {
		return page(s.users.where(func(u storage.User) bool { return u.Domain == domain && u.ID > after }, byID), limit)
	})
}

func (r *reader) ProviderUsers(ctx context.Context, domain, issuer string, disabled *bool, skip, limit int) ([]storage.User, error) {
	return list(ctx, r, "ProviderUsers", func(s *state) []storage.User {
		found := s.providerUsers(domain, issuer, disabled)
		return page(found[min(len(found), max(skip, 0)):], limit)
	})
}

func (r *reader) CountProviderUsers(ctx context.Context, domain, issuer string, disabled *bool) (int, error) {
	return list(ctx, r, "CountProviderUsers", func(s *state) int { return len(s.providerUsers(domain, issuer, disabled)) })
}

func (s *state) providerUsers(domain, issuer string, disabled *bool) (found []storage.User) {
	for _, u := range s.users.where(func(u storage.User) bool { return u.Domain == domain }, byID) {
		linked := s.links.any(func(l storage.Link) bool { return l.Domain == domain && l.User == u.ID && l.Issuer == issuer })
		if linked && (disabled == nil || *disabled == !u.DisabledAt.IsZero()) {
			found = append(found, u)
		}
	}
	return found
}

func (r *reader) SearchUsers(ctx context.Context, domain, text, after string, limit int) ([]storage.FoundUser, error) {
	in := func(s string) bool { return strings.Contains(lower(s), text) }
	return list(ctx, r, "SearchUsers", func(s *state) (found []storage.FoundUser) {
		for _, u := range s.users.where(func(u storage.User) bool { return u.Domain == domain && u.ID > after }, byID) {
			f := storage.FoundUser{
				User: u, InID: in(u.ID),
				InHandle:  s.names.any(func(n storage.Name) bool { return n.Domain == domain && n.User == u.ID && in(n.Local) }),
				InSubject: s.links.any(func(l storage.Link) bool { return l.Domain == domain && l.User == u.ID && in(l.Subject) }),
				InDevice: s.devices.any(func(d storage.Device) bool {
					return d.Domain == domain && d.User == u.ID && (in(d.Name) || in(d.ID))
				}),
			}
			if f.InID || f.InHandle || f.InSubject || f.InDevice {
				found = append(found, f)
			}
		}
		return page(found, limit)
	})
}

// lower writes the ASCII letters of a text in lower case.
func lower(s string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'A' && c <= 'Z' {
			return c + 'a' - 'A'
		}
		return c
	}, s)
}

func (r *reader) Links(ctx context.Context, domain, user string) ([]storage.Link, error) {
	return list(ctx, r, "Links", func(s *state) []storage.Link {
		return s.links.where(func(l storage.Link) bool { return l.Domain == domain && l.User == user }, func(a, b storage.Link) int {
			return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), strings.Compare(a.Issuer, b.Issuer), strings.Compare(a.Subject, b.Subject))
		})
	})
}

func (r *reader) LinkedUser(ctx context.Context, domain, issuer, subject string) (storage.User, error) {
	return read(ctx, r, "LinkedUser", func(s *state) (storage.User, error) {
		l, err := s.links.get(link{domain, issuer, subject})
		if err != nil {
			return storage.User{}, err
		}
		return s.users.get(pair{domain, l.User})
	})
}

func (r *reader) Names(ctx context.Context, domain, user string) ([]storage.Name, error) {
	return list(ctx, r, "Names", func(s *state) []storage.Name {
		return s.names.where(func(n storage.Name) bool { return n.Domain == domain && n.User == user },
			func(a, b storage.Name) int { return byCreation(a.TakenAt, b.TakenAt, a.Key, b.Key) })
	})
}

func (r *reader) Name(ctx context.Context, domain, key string) (storage.Name, error) {
	return read(ctx, r, "Name", func(s *state) (storage.Name, error) { return s.names.get(pair{domain, key}) })
}

func byKey(a, b storage.Name) int {
	return cmp.Or(strings.Compare(a.Domain, b.Domain), strings.Compare(a.Key, b.Key))
}

func (r *reader) OldNames(ctx context.Context, tables string, limit int) ([]storage.Name, error) {
	return list(ctx, r, "OldNames", func(s *state) []storage.Name {
		return page(s.names.where(func(n storage.Name) bool { return n.Tables != tables }, byKey), limit)
	})
}

func (r *reader) FormerNames(ctx context.Context, before time.Time, limit int) ([]storage.Name, error) {
	before = whole(before)
	return list(ctx, r, "FormerNames", func(s *state) (found []storage.Name) {
		for _, n := range s.names.where(func(n storage.Name) bool { return !n.ReleasedAt.IsZero() && n.ReleasedAt.Before(before) }, byKey) {
			if u, ok := s.users.find(pair{n.Domain, n.User}); !ok || u.Handle != n.Local {
				found = append(found, n)
			}
		}
		return page(found, limit)
	})
}

func (r *reader) Tombstone(ctx context.Context, domain string, m [32]byte) (storage.Tombstone, error) {
	return read(ctx, r, "Tombstone", func(s *state) (storage.Tombstone, error) { return s.tombstones.get(mark{domain, m}) })
}

func (r *reader) Removal(ctx context.Context) (storage.Removal, error) {
	return read(ctx, r, "Removal", func(s *state) (storage.Removal, error) {
		found := s.removals.where(func(storage.Removal) bool { return true }, func(a, b storage.Removal) int {
			return cmp.Or(strings.Compare(a.Domain, b.Domain), strings.Compare(a.User, b.User))
		})
		if len(found) == 0 {
			return storage.Removal{}, storage.ErrNotFound
		}
		return found[0], nil
	})
}

func (r *reader) PersonalRecords(ctx context.Context, domain, user string) ([]storage.PersonalRecords, error) {
	return read(ctx, r, "PersonalRecords", func(s *state) (found []storage.PersonalRecords, err error) {
		for _, p := range parts {
			records := storage.PersonalRecords{Name: p.name}
			for _, row := range p.rows(s, domain, user) {
				text, err := json.Marshal(row.shown)
				if err != nil {
					return nil, err
				}
				records.Rows = append(records.Rows, string(text))
			}
			found = append(found, records)
		}
		return found, nil
	})
}

func (r *reader) Device(ctx context.Context, domain, id string) (storage.Device, error) {
	return read(ctx, r, "Device", func(s *state) (storage.Device, error) { return s.devices.get(pair{domain, id}) })
}

func (r *reader) DeviceByKey(ctx context.Context, domain, jkt string) (storage.Device, error) {
	return read(ctx, r, "DeviceByKey", func(s *state) (storage.Device, error) {
		if found := s.devices.where(func(d storage.Device) bool { return d.Domain == domain && d.JKT == jkt }, byDeviceID); len(found) > 0 {
			return found[0], nil
		}
		if k, ok := s.rekeys.find(pair{domain, jkt}); ok {
			return s.devices.get(pair{domain, k.Device})
		}
		if k, ok := s.removedKeys.find(pair{domain, jkt}); ok {
			return storage.Device{Domain: domain, ID: k.Device, User: k.User, JKT: jkt, RemovedAt: storage.Forgotten}, nil
		}
		return storage.Device{}, storage.ErrNotFound
	})
}

func byDeviceID(a, b storage.Device) int { return strings.Compare(a.ID, b.ID) }

func (r *reader) Rekeys(ctx context.Context, domain, device string) ([]storage.Rekey, error) {
	return list(ctx, r, "Rekeys", func(s *state) (found []storage.Rekey) {
		for _, k := range s.rekeysOf(domain, device) {
			found = append(found, k.Rekey)
		}
		return found
	})
}

func (s *state) rekeysOf(domain, device string) []numberedRekey {
	return s.rekeys.where(func(k numberedRekey) bool { return k.Domain == domain && k.Device == device },
		func(a, b numberedRekey) int { return cmp.Compare(a.Number, b.Number) })
}

func (r *reader) Devices(ctx context.Context, domain, user string) ([]storage.Device, error) {
	return list(ctx, r, "Devices", func(s *state) []storage.Device {
		return s.devices.where(func(d storage.Device) bool { return d.Domain == domain && (user == "" || d.User == user) },
			func(a, b storage.Device) int { return byCreation(a.CreatedAt, b.CreatedAt, a.ID, b.ID) })
	})
}

func (r *reader) DevicesAfter(ctx context.Context, domain, user, after string, limit int) ([]storage.Device, error) {
	return list(ctx, r, "DevicesAfter", func(s *state) []storage.Device {
		return page(s.devices.where(func(d storage.Device) bool {
			return d.Domain == domain && (user == "" || d.User == user) && d.ID > after
		}, byDeviceID), limit)
	})
}

func (r *reader) DevicesUnder(ctx context.Context, domain, delegation string, limit int) ([]storage.Device, error) {
	return list(ctx, r, "DevicesUnder", func(s *state) []storage.Device {
		return page(s.devices.where(func(d storage.Device) bool {
			return d.Domain == domain && d.Delegation == delegation && delegation != "" && d.RemovedAt.IsZero()
		}, func(a, b storage.Device) int { return cmp.Compare(a.Number, b.Number) }), limit)
	})
}

func (r *reader) DevicesInUse(ctx context.Context, domain, user, after string, now time.Time, limit int) ([]storage.DeviceUse, error) {
	now = whole(now)
	return list(ctx, r, "DevicesInUse", func(s *state) (found []storage.DeviceUse) {
		for _, d := range page(s.presentDevices(domain, user, after), limit) {
			use := storage.DeviceUse{Device: d, Active: s.active(&d, now)}
			for _, g := range s.grantsOf(domain, user) { // oldest first
				if g.Device != d.ID {
					continue
				}
				for _, t := range []time.Time{g.CreatedAt, g.RotatedAt} {
					if t.After(use.SeenAt) {
						use.SeenAt = t
					}
				}
				use.Login = storage.Grant{Issuer: g.Issuer, AuthTime: g.AuthTime, ACR: g.ACR, AMR: g.AMR, CreatedAt: g.CreatedAt}
			}
			found = append(found, use)
		}
		return found
	})
}

func (s *state) presentDevices(domain, user, after string) []storage.Device {
	return s.devices.where(func(d storage.Device) bool {
		return d.Domain == domain && d.User == user && d.RemovedAt.IsZero() && d.ID > after
	}, byDeviceID)
}

func (r *reader) DevicesReach(ctx context.Context, domain, user string, now time.Time, n int) (bool, error) {
	now = whole(now)
	return list(ctx, r, "DevicesReach", func(s *state) bool {
		active := 0
		for _, d := range s.presentDevices(domain, user, "") {
			if s.active(&d, now) {
				active++
			}
		}
		return active >= n
	})
}

func (r *reader) DeviceActive(ctx context.Context, domain, id string, now time.Time) (bool, error) {
	now = whole(now)
	return list(ctx, r, "DeviceActive", func(s *state) bool {
		d, ok := s.devices.find(pair{domain, id})
		return ok && d.RemovedAt.IsZero() && s.active(&d, now)
	})
}

func (r *reader) UserEvents(ctx context.Context, domain, user string, after int64, limit int) ([]storage.UserEvent, error) {
	return list(ctx, r, "UserEvents", func(s *state) []storage.UserEvent {
		return page(s.events.where(func(e storage.UserEvent) bool { return e.Domain == domain && e.User == user && e.Number > after },
			func(a, b storage.UserEvent) int { return cmp.Compare(a.Number, b.Number) }), limit)
	})
}

func (r *reader) LastUserEvent(ctx context.Context, domain, user string) (int64, error) {
	return list(ctx, r, "LastUserEvent", func(s *state) int64 {
		n, _ := s.eventNumbers.find(pair{domain, user})
		return n
	})
}

// grantsOf returns the grants of a user, oldest first.
func (s *state) grantsOf(domain, user string) []rowedGrant {
	return s.grants.where(func(g rowedGrant) bool { return g.Domain == domain && g.User == user },
		func(a, b rowedGrant) int { return byCreation(a.CreatedAt, b.CreatedAt, a.ID, b.ID) })
}

func (r *reader) Grants(ctx context.Context, domain, user string) ([]storage.Grant, error) {
	return list(ctx, r, "Grants", func(s *state) (found []storage.Grant) {
		for _, g := range s.grantsOf(domain, user) {
			found = append(found, g.Grant)
		}
		return found
	})
}

func (r *reader) LiveGrants(ctx context.Context, domain, user, after string, now time.Time, limit int) ([]storage.Grant, error) {
	now = whole(now)
	return list(ctx, r, "LiveGrants", func(s *state) (found []storage.Grant) {
		for _, g := range page(s.grants.where(func(g rowedGrant) bool {
			return g.Domain == domain && g.User == user && g.ID > after && live(&g.Grant, now)
		}, func(a, b rowedGrant) int { return strings.Compare(a.ID, b.ID) }), limit) {
			found = append(found, g.Grant)
		}
		return found
	})
}

func (r *reader) EndedGrants(ctx context.Context, domain, user, after string, limit int) ([]storage.Grant, error) {
	return list(ctx, r, "EndedGrants", func(s *state) []storage.Grant {
		return page(s.endedGrants.where(func(g storage.Grant) bool { return g.Domain == domain && g.User == user && g.ID > after },
			func(a, b storage.Grant) int { return strings.Compare(a.ID, b.ID) }), limit)
	})
}
