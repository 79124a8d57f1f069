package postgres

import (
	"context"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

// Where a text $3 is found: in the id of a user u, in a handle, in an account at a provider, in a device. Texts have the collation "C",
// in which lower changes ASCII letters alone.
const (
	inID     = "strpos(lower(u.id), $3) > 0"
	inHandle = "EXISTS (SELECT 1 FROM names n WHERE n.domain = $1 AND n.user_id = u.id AND strpos(lower(n.local), $3) > 0)"

	inSubject = "EXISTS (SELECT 1 FROM links l WHERE l.domain = $1 AND l.user_id = u.id AND strpos(lower(l.subject), $3) > 0)"
	inDevice  = "EXISTS (SELECT 1 FROM devices d WHERE d.domain = $1 AND d.user_id = u.id " +
		"AND (strpos(lower(d.name), $3) > 0 OR strpos(lower(d.id), $3) > 0))"
)

var searchUsers = "SELECT * FROM (SELECT " + row.Of("u", row.UserColumns) + ", " + inID + " AS i, " + inHandle + " AS h, " + inSubject +
	" AS s, " + inDevice + " AS d FROM users u WHERE u.domain = $1 AND u.id > $2 ORDER BY u.id) found WHERE i OR h OR s OR d " +
	"ORDER BY id LIMIT $4"

func (r *reader) SearchUsers(ctx context.Context, domain, text, after string, limit int) ([]storage.FoundUser, error) {
	return all(ctx, r, searchUsers, func(f *storage.FoundUser) []any {
		return append(row.UserDest(&f.User), &f.InID, &f.InHandle, &f.InSubject, &f.InDevice)
	}, domain, after, text, max(limit, 0))
}
