package sqlite

import (
	"context"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

// Where a text ?3 is found: in the id of a user u, in a handle, in an account at a provider, in a device.
const (
	inID     = "instr(lower(u.id), ?3) > 0"
	inHandle = "EXISTS (SELECT 1 FROM names n INDEXED BY names_user WHERE n.domain = ?1 AND n.user_id = u.id " +
		"AND instr(lower(n.local), ?3) > 0)"
	inSubject = "EXISTS (SELECT 1 FROM links l INDEXED BY links_user WHERE l.domain = ?1 AND l.user_id = u.id " +
		"AND instr(lower(l.subject), ?3) > 0)"
	inDevice = "EXISTS (SELECT 1 FROM devices d INDEXED BY devices_user WHERE d.domain = ?1 AND d.user_id = u.id " +
		"AND (instr(lower(d.name), ?3) > 0 OR instr(lower(d.id), ?3) > 0))"
)

var searchUsers = statement("SELECT * FROM (SELECT " + row.Of("u", row.UserColumns) + ", " + inID + " AS i, " + inHandle + " AS h, " +
	inSubject + " AS s, " + inDevice + " AS d FROM users u WHERE u.domain = ?1 AND u.id > ?2 ORDER BY u.id) " +
	"WHERE i OR h OR s OR d LIMIT ?4")

func (r *reader) SearchUsers(ctx context.Context, domain, text, after string, limit int) (list []storage.FoundUser, err error) {
	err = r.rows(ctx, searchUsers, func() []any {
		list = append(list, storage.FoundUser{})
		f := &list[len(list)-1]
		return append(row.UserDest(&f.User), &f.InID, &f.InHandle, &f.InSubject, &f.InDevice)
	}, domain, after, text, max(limit, 0))
	return list, err
}
