package sqlite

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

// What belongs to one user, and the list of all users. Ids are compared as BINARY, byte by byte. Where a table has no rowid, SQLite
// would read a whole domain by the primary key rather than use the index of a user, so these statements name the index.
var (
	selectUsers         = statement("SELECT " + row.UserColumns + " FROM users WHERE domain = ? AND id > ? ORDER BY id LIMIT ?")
	selectProviderUsers = statement("SELECT " + row.UserColumns + " FROM users WHERE " + ofProvider + " ORDER BY id LIMIT ?5 OFFSET ?4")
	countProviderUsers  = statement("SELECT count(*) FROM users WHERE " + ofProvider)
	selectLinks         = statement("SELECT " + row.LinkColumns + " FROM links INDEXED BY links_user WHERE domain = ? AND user_id = ? " +
		"ORDER BY created_at, issuer, subject")
	deleteLink  = statement("DELETE FROM links WHERE domain = ? AND issuer = ? AND subject = ?")
	selectNames = statement("SELECT " + row.NameColumns + " FROM names INDEXED BY names_user WHERE domain = ? AND user_id = ? " +
		"ORDER BY taken_at, key")
	// There is nothing to find except after an upgrade.
	selectOldNames = statement("SELECT " + row.NameColumns + " FROM names INDEXED BY names_tables WHERE tables < ?1 " +
		"UNION ALL SELECT " + row.NameColumns + " FROM names INDEXED BY names_tables WHERE tables > ?1 LIMIT ?2")
	countWaiting = statement("SELECT (SELECT count(*) FROM logins) + (SELECT count(*) FROM pushed) + " +
		"(SELECT count(*) FROM device_codes)")
	census = statement("SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM devices WHERE removed_at = 0), " +
		"(SELECT count(*) FROM grants WHERE ended_at = 0 AND (idle_at = 0 OR idle_at > ?1) AND (expires_at = 0 OR expires_at > ?1))")
	renameKey    = statement("UPDATE names SET key = ?3, tables = ?4 WHERE domain = ?1 AND key = ?2")
	selectGrants = statement("SELECT " + row.GrantColumns + " FROM grants WHERE domain = ? AND user_id = ? " +
		"ORDER BY created_at, id")
	selectLiveGrants = statement("SELECT " + row.GrantColumns + " FROM grants INDEXED BY grants_user_device " +
		"WHERE domain = ?1 AND user_id = ?2 AND " + liveGrant + " AND id > ?4 ORDER BY id LIMIT ?5")
	endUserGrants = statement("UPDATE grants SET ended_at = ?3, ended_reason = ?4 " +
		"WHERE domain = ?1 AND user_id = ?2 AND ended_at = 0 RETURNING id")
	dropUserCodes = statement("DELETE FROM codes WHERE domain = ?1 AND user_id = ?2 AND spent_at = 0 AND expires_at >= ?3")
)

func (r *reader) Users(ctx context.Context, domain, after string, limit int) (users []storage.User, err error) {
	err = r.rows(ctx, selectUsers, func() []any {
		users = append(users, storage.User{})
		return row.UserDest(&users[len(users)-1])
	}, domain, after, max(limit, 0)) // SQLite takes a negative limit for none
	return users, err
}

// ofProvider selects the users of domain ?1 with a link to the provider ?2, those who are disabled if ?3 is 1, who are not if it is 0,
// and all if it is below. The index of the links of a user holds the issuer, too.
const ofProvider = "domain = ?1 AND (?3 < 0 OR (disabled_at != 0) = ?3) AND EXISTS (SELECT 1 FROM links INDEXED BY links_user " +
	"WHERE links.domain = users.domain AND links.user_id = users.id AND links.issuer = ?2)"

// whether is the parameter ?3 of ofProvider.
func whether(disabled *bool) int {
	switch {
	case disabled == nil:
		return -1
	case *disabled:
		return 1
	}
	return 0
}

func (r *reader) ProviderUsers(
	ctx context.Context, domain, issuer string, disabled *bool, skip, limit int,
) (users []storage.User, err error) {
	err = r.rows(ctx, selectProviderUsers, func() []any {
		users = append(users, storage.User{})
		return row.UserDest(&users[len(users)-1])
	}, domain, issuer, whether(disabled), max(skip, 0), max(limit, 0))
	return users, err
}

func (r *reader) CountProviderUsers(ctx context.Context, domain, issuer string, disabled *bool) (n int, err error) {
	err = r.row(ctx, countProviderUsers, []any{&n}, domain, issuer, whether(disabled))
	return n, err
}

func (r *reader) Links(ctx context.Context, domain, user string) (links []storage.Link, err error) {
	err = r.rows(ctx, selectLinks, func() []any {
		links = append(links, storage.Link{})
		return row.LinkDest(&links[len(links)-1])
	}, domain, user)
	return links, err
}

func (t *tx) DeleteLink(ctx context.Context, domain, issuer, subject string) error {
	return t.one(ctx, deleteLink, domain, issuer, subject)
}

func (r *reader) Names(ctx context.Context, domain, user string) (names []storage.Name, err error) {
	err = r.rows(ctx, selectNames, func() []any {
		names = append(names, storage.Name{})
		return row.NameDest(&names[len(names)-1])
	}, domain, user)
	return names, err
}

func (r *reader) OldNames(ctx context.Context, tables string, limit int) (names []storage.Name, err error) {
	err = r.rows(ctx, selectOldNames, func() []any {
		names = append(names, storage.Name{})
		return row.NameDest(&names[len(names)-1])
	}, tables, limit)
	return names, err
}

func (r *reader) Waiting(ctx context.Context) (n int, err error) {
	err = r.row(ctx, countWaiting, []any{&n})
	return n, err
}

func (r *reader) Census(ctx context.Context, now time.Time) (c storage.Census, err error) {
	err = r.row(ctx, census, []any{&c.Users, &c.Devices, &c.Sessions}, row.Millis(now))
	return c, err
}

func (t *tx) RenameKey(ctx context.Context, n storage.Name, key string) error {
	return t.one(ctx, renameKey, n.Domain, n.Key, key, n.Tables)
}

func (r *reader) Grants(ctx context.Context, domain, user string) (grants []storage.Grant, err error) {
	err = r.rows(ctx, selectGrants, func() []any {
		grants = append(grants, storage.Grant{})
		return row.GrantDest(&grants[len(grants)-1])
	}, domain, user)
	return grants, err
}

func (r *reader) LiveGrants(
	ctx context.Context, domain, user, after string, now time.Time, limit int,
) (grants []storage.Grant, err error) {
	err = r.rows(ctx, selectLiveGrants, func() []any {
		grants = append(grants, storage.Grant{})
		return row.GrantDest(&grants[len(grants)-1])
	}, domain, user, row.Millis(now), after, max(limit, 0)) // SQLite takes a negative limit for none
	return grants, err
}

func (t *tx) EndUserGrants(ctx context.Context, domain, user string, at time.Time, reason string) (ended []string, err error) {
	next := func() []any {
		ended = append(ended, "")
		return []any{&ended[len(ended)-1]}
	}
	if err := t.rows(ctx, endUserGrants, next, domain, user, row.Millis(at), reason); err != nil {
		return nil, err
	}
	if _, err = t.exec(ctx, dropUserCodes, domain, user, row.Millis(at)); err != nil {
		return nil, err
	}
	if _, err = t.exec(ctx, dropUserDeviceCodes, domain, user); err != nil {
		return nil, err
	}
	return ended, t.TrimBrowserSessions(ctx, domain, user, 0)
}
