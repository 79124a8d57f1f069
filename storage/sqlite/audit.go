package sqlite

import (
	"context"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

var (
	selectNextNode  = statement("SELECT node FROM audit WHERE node > ? ORDER BY node LIMIT 1")
	selectAuditHead = statement("SELECT seq, hash FROM audit WHERE node = ? ORDER BY seq DESC LIMIT 1")
	selectAudit     = statement("SELECT " + row.AuditColumns + " FROM audit WHERE node = ? AND seq > ? ORDER BY seq LIMIT ?")
	selectUserAudit = statement("SELECT " + row.AuditColumns + " FROM audit WHERE domain = ? AND user_id = ? AND user_id <> '' " +
		"AND (node, seq) > (?, ?) ORDER BY node, seq LIMIT ?")
	selectAuditHeads = statement("SELECT node, seq, at, token FROM audit_heads WHERE node = ? AND seq > ? ORDER BY seq LIMIT ?")
	selectLastHead   = statement("SELECT node, seq, at, token FROM audit_heads WHERE node = ? ORDER BY seq DESC LIMIT 1")

	insertAudit = statement("INSERT INTO audit (" + row.AuditColumns + ") SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 " +
		"WHERE ?2 = (SELECT ifnull(max(seq), 0) + 1 FROM audit WHERE node = ?1)")
	eraseAudit = statement("UPDATE audit SET private = NULL WHERE (node, seq) IN (SELECT node, seq FROM audit " +
		"WHERE domain = ? AND user_id = ? AND user_id <> '' AND private IS NOT NULL LIMIT ?)")
	insertAuditHead = insert("audit_heads", "node, seq, at, token")
	mayCutAudit     = statement("SELECT h.seq FROM audit_heads h WHERE h.node = ?1 AND h.seq = ?2 " +
		"AND EXISTS (SELECT 1 FROM audit WHERE node = ?1 AND seq > ?2)")
	cutAudit      = statement("DELETE FROM audit WHERE node = ? AND seq <= ?")
	cutAuditHeads = statement("DELETE FROM audit_heads WHERE node = ? AND seq < ?")
)

// AuditNodes takes one look-up for each node, however many records there are. A chain that has begun never ends.
func (r *reader) AuditNodes(ctx context.Context) (list []string, err error) {
	for after := ""; ; {
		err := r.row(ctx, selectNextNode, []any{&after}, after)
		if err == storage.ErrNotFound {
			return list, nil
		} else if err != nil {
			return nil, err
		}
		list = append(list, after)
	}
}

func (r *reader) AuditHead(ctx context.Context, node string) (h storage.AuditHead, err error) {
	err = r.row(ctx, selectAuditHead, []any{&h.Seq, (*row.Digest)(&h.Hash)}, node)
	if err == storage.ErrNotFound {
		return storage.AuditHead{}, nil
	}
	return h, err
}

func (r *reader) AuditRecords(ctx context.Context, node string, after int64, limit int) (list []storage.AuditRecord, err error) {
	err = r.rows(ctx, selectAudit, func() []any {
		list = append(list, storage.AuditRecord{})
		return row.AuditDest(&list[len(list)-1])
	}, node, after, max(limit, 0)) // SQLite takes a negative limit for none
	return list, err
}

func (r *reader) UserAuditRecords(
	ctx context.Context, domain, user string, after storage.AuditCursor, limit int,
) (list []storage.AuditRecord, err error) {
	err = r.rows(ctx, selectUserAudit, func() []any {
		list = append(list, storage.AuditRecord{})
		return row.AuditDest(&list[len(list)-1])
	}, domain, user, after.Node, after.Seq, max(limit, 0))
	return list, err
}

func (r *reader) SignedHeads(ctx context.Context, node string, after int64, limit int) (list []storage.SignedHead, err error) {
	err = r.rows(ctx, selectAuditHeads, func() []any {
		list = append(list, storage.SignedHead{})
		h := &list[len(list)-1]
		return []any{&h.Node, &h.Seq, (*row.Instant)(&h.At), &h.Token}
	}, node, after, max(limit, 0))
	return list, err
}

func (r *reader) LastSignedHead(ctx context.Context, node string) (h storage.SignedHead, err error) {
	err = r.row(ctx, selectLastHead, []any{&h.Node, &h.Seq, (*row.Instant)(&h.At), &h.Token}, node)
	return h, err
}

func (t *tx) AppendAudit(ctx context.Context, r storage.AuditRecord) error {
	n, err := t.exec(ctx, insertAudit, r.Node, r.Seq, r.Hash[:], r.Record, r.Private, row.Millis(r.At), r.Domain, r.User)
	if err == nil && n == 0 {
		return storage.ErrConflict
	}
	return err
}

func (t *tx) EraseAudit(ctx context.Context, domain, user string, limit int) (int, error) {
	n, err := t.exec(ctx, eraseAudit, domain, user, max(limit, 0))
	return int(n), err
}

func (t *tx) InsertSignedHead(ctx context.Context, h storage.SignedHead) error {
	return t.insert(ctx, insertAuditHead, []any{h.Node, h.Seq, row.Millis(h.At), h.Token})
}

func (t *tx) CutAudit(ctx context.Context, node string, upTo int64) (int, error) {
	var head int64
	if err := t.row(ctx, mayCutAudit, []any{&head}, node, upTo); err == storage.ErrNotFound {
		return 0, storage.ErrConflict
	} else if err != nil {
		return 0, err
	}
	n, err := t.exec(ctx, cutAudit, node, upTo)
	if err != nil {
		return 0, err
	}
	_, err = t.exec(ctx, cutAuditHeads, node, upTo)
	return int(n), err
}
