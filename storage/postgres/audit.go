package postgres

import (
	"context"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

var (
	selectNextNode  = "SELECT node FROM audit WHERE node > $1 ORDER BY node LIMIT 1"
	selectAuditHead = "SELECT seq, hash FROM audit WHERE node = $1 ORDER BY seq DESC LIMIT 1"
	selectAudit     = "SELECT " + row.AuditColumns + " FROM audit WHERE node = $1 AND seq > $2 ORDER BY seq LIMIT $3"
	selectUserAudit = "SELECT " + row.AuditColumns + " FROM audit WHERE domain = $1 AND user_id = $2 AND user_id <> '' " +
		"AND (node, seq) > ($3, $4) ORDER BY node, seq LIMIT $5"
	selectAuditHeads = "SELECT node, seq, at, token FROM audit_heads WHERE node = $1 AND seq > $2 ORDER BY seq LIMIT $3"
	selectLastHead   = "SELECT node, seq, at, token FROM audit_heads WHERE node = $1 ORDER BY seq DESC LIMIT 1"

	insertAudit = insertInto("audit", row.AuditColumns)
	eraseAudit  = "UPDATE audit SET private = NULL WHERE (node, seq) IN (SELECT node, seq FROM audit " +
		"WHERE domain = $1 AND user_id = $2 AND user_id <> '' AND private IS NOT NULL LIMIT $3)"
	insertAuditHead = insertInto("audit_heads", "node, seq, at, token")
	mayCutAudit     = "SELECT h.seq FROM audit_heads h WHERE h.node = $1 AND h.seq = $2 " +
		"AND EXISTS (SELECT 1 FROM audit WHERE node = $1 AND seq > $2)"
	cutAudit      = "DELETE FROM audit WHERE node = $1 AND seq <= $2"
	cutAuditHeads = "DELETE FROM audit_heads WHERE node = $1 AND seq < $2"
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

// AuditHead returns the head of a chain, to which no other update of this process appends before this one has ended.
func (t *tx) AuditHead(ctx context.Context, node string) (storage.AuditHead, error) {
	h, err := t.hold(ctx, node)
	if err != nil {
		return storage.AuditHead{}, err
	}
	return h.head, nil
}

func (r *reader) AuditRecords(ctx context.Context, node string, after int64, limit int) ([]storage.AuditRecord, error) {
	return all(ctx, r, selectAudit, row.AuditDest, node, after, max(limit, 0))
}

func (r *reader) UserAuditRecords(
	ctx context.Context, domain, user string, after storage.AuditCursor, limit int,
) ([]storage.AuditRecord, error) {
	return all(ctx, r, selectUserAudit, row.AuditDest, domain, user, after.Node, after.Seq, max(limit, 0))
}

func signedHeadDest(h *storage.SignedHead) []any {
	return []any{&h.Node, &h.Seq, (*row.Instant)(&h.At), &h.Token}
}

func (r *reader) SignedHeads(ctx context.Context, node string, after int64, limit int) ([]storage.SignedHead, error) {
	return all(ctx, r, selectAuditHeads, signedHeadDest, node, after, max(limit, 0))
}

func (r *reader) LastSignedHead(ctx context.Context, node string) (storage.SignedHead, error) {
	return one(ctx, r, selectLastHead, signedHeadDest, node)
}

func (t *tx) AppendAudit(ctx context.Context, r storage.AuditRecord) error {
	h, err := t.hold(ctx, r.Node)
	if err != nil {
		return err
	}
	if r.Seq != h.head.Seq+1 {
		return storage.ErrConflict
	}
	n, err := t.exec(ctx, insertAudit, r.Node, r.Seq, r.Hash[:], r.Record, r.Private, row.Millis(r.At), r.Domain, r.User)
	if err != nil {
		return err
	}
	if n == 0 { // the head is another one than this process knew: run again
		t.on.fault = errTurn
		return errTurn
	}
	h.head = storage.AuditHead{Seq: r.Seq, Hash: r.Hash}
	return nil
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
