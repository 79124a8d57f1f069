package postgres

import (
	"context"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

// ofProvider selects the users of domain $1 with a link to the provider $2, those who are disabled if $3 is true, who are not if it is
// false, and all if it is NULL.
const ofProvider = "domain = $1 AND ($3::boolean IS NULL OR (disabled_at <> 0) = $3) AND EXISTS (SELECT 1 FROM links " +
	"WHERE links.domain = users.domain AND links.user_id = users.id AND links.issuer = $2)"

var (
	selectUser          = "SELECT " + row.UserColumns + " FROM users WHERE domain = $1 AND id = $2"
	selectUsers         = "SELECT " + row.UserColumns + " FROM users WHERE domain = $1 AND id > $2 ORDER BY id LIMIT $3"
	selectProviderUsers = "SELECT " + row.UserColumns + " FROM users WHERE " + ofProvider + " ORDER BY id LIMIT $5 OFFSET $4"
	countProviderUsers  = "SELECT count(*) FROM users WHERE " + ofProvider
	selectLinkedUser    = "SELECT " + row.Of("u", row.UserColumns) + " FROM links l JOIN users u " +
		"ON u.domain = l.domain AND u.id = l.user_id WHERE l.domain = $1 AND l.issuer = $2 AND l.subject = $3"
	insertUser = insertInto("users", row.UserColumns)
	updateUser = updateOf("users", row.UserColumns, 2, "")

	selectLinks = "SELECT " + row.LinkColumns + " FROM links WHERE domain = $1 AND user_id = $2 ORDER BY created_at, issuer, subject"
	insertLink  = insertInto("links", row.LinkColumns)
	deleteLink  = "DELETE FROM links WHERE domain = $1 AND issuer = $2 AND subject = $3"

	selectName  = "SELECT " + row.NameColumns + " FROM names WHERE domain = $1 AND key = $2"
	selectNames = "SELECT " + row.NameColumns + " FROM names WHERE domain = $1 AND user_id = $2 ORDER BY taken_at, key"
	// There is nothing to find except after an upgrade.
	selectOldNames = "SELECT " + row.NameColumns + " FROM names WHERE tables < $1 " +
		"UNION ALL SELECT " + row.NameColumns + " FROM names WHERE tables > $1 LIMIT $2"
	insertName = insertInto("names", row.NameColumns)
	updateName = updateOf("names", row.NameColumns, 2, " AND ($6::bigint <> 0 OR NOT EXISTS (SELECT 1 FROM names o WHERE o.domain = $1 "+
		"AND o.local = $3 AND o.released_at = 0 AND o.key <> $2))")
	renameKey = "UPDATE names SET key = $3, tables = $4 WHERE domain = $1 AND key = $2 " +
		"AND ($3 = $2 OR NOT EXISTS (SELECT 1 FROM names o WHERE o.domain = $1 AND o.key = $3))"
)

func (r *reader) User(ctx context.Context, domain, id string) (storage.User, error) {
	return one(ctx, r, selectUser, row.UserDest, domain, id)
}

func (r *reader) Users(ctx context.Context, domain, after string, limit int) ([]storage.User, error) {
	return all(ctx, r, selectUsers, row.UserDest, domain, after, max(limit, 0))
}

func (r *reader) ProviderUsers(
	ctx context.Context, domain, issuer string, disabled *bool, skip, limit int,
) ([]storage.User, error) {
	return all(ctx, r, selectProviderUsers, row.UserDest, domain, issuer, disabled, max(skip, 0), max(limit, 0))
}

func (r *reader) CountProviderUsers(ctx context.Context, domain, issuer string, disabled *bool) (int, error) {
	return r.number(ctx, countProviderUsers, domain, issuer, disabled)
}

func (r *reader) LinkedUser(ctx context.Context, domain, issuer, subject string) (storage.User, error) {
	return one(ctx, r, selectLinkedUser, row.UserDest, domain, issuer, subject)
}

func (t *tx) InsertUser(ctx context.Context, u storage.User) error {
	return t.insert(ctx, insertUser, row.UserArgs(u))
}

func (t *tx) UpdateUser(ctx context.Context, u storage.User) error {
	return t.must(ctx, updateUser, row.UserArgs(u)...)
}

func (r *reader) Links(ctx context.Context, domain, user string) ([]storage.Link, error) {
	return all(ctx, r, selectLinks, row.LinkDest, domain, user)
}

func (t *tx) InsertLink(ctx context.Context, l storage.Link) error {
	return t.insert(ctx, insertLink, row.LinkArgs(l))
}

func (t *tx) DeleteLink(ctx context.Context, domain, issuer, subject string) error {
	return t.must(ctx, deleteLink, domain, issuer, subject)
}

func (r *reader) Name(ctx context.Context, domain, key string) (storage.Name, error) {
	return one(ctx, r, selectName, row.NameDest, domain, key)
}

func (r *reader) Names(ctx context.Context, domain, user string) ([]storage.Name, error) {
	return all(ctx, r, selectNames, row.NameDest, domain, user)
}

func (r *reader) OldNames(ctx context.Context, tables string, limit int) ([]storage.Name, error) {
	return all(ctx, r, selectOldNames, row.NameDest, tables, max(limit, 0))
}

func (t *tx) InsertName(ctx context.Context, n storage.Name) error {
	return t.insert(ctx, insertName, row.NameArgs(n))
}

func (t *tx) UpdateName(ctx context.Context, n storage.Name) error {
	return t.change(ctx, func() error { return t.hasName(ctx, n) }, updateName, row.NameArgs(n)...)
}

func (t *tx) RenameKey(ctx context.Context, n storage.Name, key string) error {
	return t.change(ctx, func() error { return t.hasName(ctx, n) }, renameKey, n.Domain, n.Key, key, n.Tables)
}

func (t *tx) hasName(ctx context.Context, n storage.Name) error {
	_, err := t.Name(ctx, n.Domain, n.Key)
	return err
}
