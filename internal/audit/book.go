package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/imidentity/issuer/storage"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// headEvery is how many records there are at most between two signed heads.
const headEvery = 1000

// exportPage is how many records are read at a time.
const exportPage = 500

// A BookConfig configures [NewBook].
type BookConfig struct {
	// Store has the audit log. Required.
	Store storage.Store
	// Issuer is that of signed heads, and Keys signs them. Required.
	Issuer string
	Keys   Signer
	// Node is the node whose chain [Book.Keep] signs. Required.
	Node string
	// HeadsEvery is how often a head is signed, if there are new records. Required.
	HeadsEvery time.Duration
	// HeadsFile is a file to which each signed head is appended; empty for none.
	HeadsFile string
	// Retention is how long records are kept at least; zero means for ever.
	Retention time.Duration
	// DetailRetention is how long the values beside the records are kept; zero means as long as the records.
	DetailRetention time.Duration
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
}

// A Book signs the heads of the audit log, exports it, and removes old records. It is safe for concurrent use.
type Book struct{ cfg BookConfig }

// NewBook returns a Book.
func NewBook(cfg BookConfig) *Book {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Book{cfg}
}

// Keep signs the heads that are due, and removes records that are older than the retention. It is called from time to time.
func (b *Book) Keep(ctx context.Context) error {
	if err := b.sign(ctx, b.cfg.Node, false); err != nil {
		return err
	}
	return b.cut(ctx)
}

// EraseDetails removes the values beside records that are older than their retention, a few at a time. It is called from time to time.
func (b *Book) EraseDetails(ctx context.Context) error {
	const page = 100
	if b.cfg.DetailRetention <= 0 {
		return nil
	}
	before := b.cfg.Now().Add(-b.cfg.DetailRetention)
	for {
		var n int
		err := b.cfg.Store.Update(ctx, func(ctx context.Context, tx storage.Tx) (err error) {
			n, err = tx.EraseOldAudit(ctx, b.cfg.Node, before, page)
			return err
		})
		if err != nil {
			return fmt.Errorf("audit: erase old details: %w", err)
		}
		if n < page {
			return nil
		}
	}
}

// SignHeads signs the heads of all chains, if their last records have none yet.
func (b *Book) SignHeads(ctx context.Context) error {
	nodes, err := b.cfg.Store.AuditNodes(ctx)
	if err != nil {
		return fmt.Errorf("audit: sign heads: %w", err)
	}
	for _, node := range nodes {
		if err := b.sign(ctx, node, true); err != nil {
			return err
		}
	}
	return nil
}

// sign signs heads of a chain: one at least for every headEvery records and, if it is time or if now is set, one for the last record.
func (b *Book) sign(ctx context.Context, node string, now bool) error {
	head, err := b.cfg.Store.AuditHead(ctx, node)
	if err != nil {
		return fmt.Errorf("audit: sign a head: %w", err)
	}
	last, err := b.cfg.Store.LastSignedHead(ctx, node)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("audit: sign a head: %w", err)
	}
	for head.Seq-last.Seq > headEvery {
		rows, err := b.cfg.Store.AuditRecords(ctx, node, last.Seq+headEvery-1, 1)
		if err != nil {
			return fmt.Errorf("audit: sign a head: %w", err)
		}
		if len(rows) == 0 || rows[0].Seq >= head.Seq {
			break
		}
		if last, err = b.put(ctx, node, storage.AuditHead{Seq: rows[0].Seq, Hash: rows[0].Hash}); err != nil {
			return err
		}
	}
	if head.Seq <= last.Seq {
		return nil
	}
	if now || b.cfg.Now().Sub(last.At) >= b.cfg.HeadsEvery {
		_, err = b.put(ctx, node, head)
		return err
	}
	return nil
}

// put signs and stores a head.
func (b *Book) put(ctx context.Context, node string, head storage.AuditHead) (storage.SignedHead, error) {
	h := Head{Issuer: b.cfg.Issuer, Node: node, Seq: head.Seq, Hash: head.Hash, At: b.cfg.Now().UTC().Truncate(time.Second)}
	signed, err := h.sign(b.cfg.Keys)
	if err != nil {
		return signed, err
	}
	err = b.cfg.Store.Update(ctx, func(ctx context.Context, tx storage.Tx) error { return tx.InsertSignedHead(ctx, signed) })
	if errors.Is(err, storage.ErrConflict) { // another process, or another request, was faster
		return signed, nil
	} else if err != nil {
		return signed, fmt.Errorf("audit: store a signed head: %w", err)
	}
	return signed, b.ship(signed)
}

// ship appends a head to the file for them.
func (b *Book) ship(h storage.SignedHead) (err error) {
	if b.cfg.HeadsFile == "" {
		return nil
	}
	f, err := os.OpenFile(b.cfg.HeadsFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("audit: heads_file: %w", err)
	}
	l := line{head: h.Token}
	_, err = f.Write(append(l.appendTo(nil), '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("audit: heads_file: %w", err)
	}
	return nil
}

// cut removes old records, up to the last signed head that is older than the retention.
func (b *Book) cut(ctx context.Context) error {
	if b.cfg.Retention <= 0 {
		return nil
	}
	before := b.cfg.Now().Add(-b.cfg.Retention)
	for after := int64(0); ; {
		heads, err := b.cfg.Store.SignedHeads(ctx, b.cfg.Node, after, 2)
		if err != nil {
			return fmt.Errorf("audit: remove old records: %w", err)
		}
		if len(heads) == 0 || heads[0].At.After(before) {
			return nil
		}
		// One head at a time, so that no other update waits for long.
		err = b.cfg.Store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
			_, err := tx.CutAudit(ctx, b.cfg.Node, heads[0].Seq)
			return err
		})
		if errors.Is(err, storage.ErrConflict) { // it is the last record
			return nil
		} else if err != nil {
			return fmt.Errorf("audit: remove old records: %w", err)
		}
		after = heads[0].Seq
	}
}

// Chains returns the last record of each chain.
func (b *Book) Chains(ctx context.Context) ([]Head, error) {
	nodes, err := b.cfg.Store.AuditNodes(ctx)
	if err != nil {
		return nil, fmt.Errorf("audit: chains: %w", err)
	}
	list := make([]Head, len(nodes))
	for i, node := range nodes {
		head, err := b.cfg.Store.AuditHead(ctx, node)
		if err != nil {
			return nil, fmt.Errorf("audit: chains: %w", err)
		}
		list[i] = Head{Issuer: b.cfg.Issuer, Node: node, Seq: head.Seq, Hash: head.Hash}
	}
	return list, nil
}

// Export writes the audit log, or the part that f selects, as lines of JSON. If there is no filter, the heads are signed first. Flush is
// called after each part of the export; nil does nothing.
func (b *Book) Export(ctx context.Context, w io.Writer, f Filter, flush func() error) error {
	if f == (Filter{}) {
		if err := b.SignHeads(ctx); err != nil {
			return err
		}
	}
	nodes, err := b.cfg.Store.AuditNodes(ctx)
	if err != nil {
		return fmt.Errorf("audit: export: %w", err)
	}
	x := export{Book: b, w: w, filter: f, flush: flush}
	if err := x.line(line{start: &start{b.cfg.Issuer, f}}); err != nil {
		return err
	}
	for _, node := range nodes {
		if f.Node != "" && f.Node != node {
			continue
		}
		if err := x.chain(ctx, node); err != nil {
			return fmt.Errorf("audit: export: %w", err)
		}
	}
	return x.line(line{end: &x.end})
}

// An export is one that is being written.
type export struct {
	*Book
	w      io.Writer
	filter Filter
	flush  func() error
	end    end
	buffer []byte
}

func (x *export) line(l line) error {
	x.buffer = append(l.appendTo(x.buffer[:0]), '\n')
	_, err := x.w.Write(x.buffer)
	return err
}

func (x *export) head(token string) error {
	x.end.heads++
	return x.line(line{head: token})
}

// chain writes the chain of a node up to its present end.
func (x *export) chain(ctx context.Context, node string) error {
	until, err := x.cfg.Store.AuditHead(ctx, node)
	if err != nil {
		return err
	}
	after := x.filter.After
	for first := true; after < until.Seq; first = false {
		rows, heads, err := x.page(ctx, node, after, until.Seq)
		if err != nil || len(rows) == 0 {
			return err
		}
		// A chain that was cut begins with the head of the last record that was removed.
		if x.filter == (Filter{}) && first && rows[0].Seq > 1 && len(heads) > 0 && heads[0].Seq == rows[0].Seq-1 {
			if err := x.head(heads[0].Token); err != nil {
				return err
			}
		}
		for i := range rows {
			r := &rows[i]
			for len(heads) > 0 && heads[0].Seq < r.Seq {
				heads = heads[1:]
			}
			if !x.filter.selects(r) {
				continue
			}
			x.end.records++
			if err := x.line(line{record: &exported{AuditRecord: *r}}); err != nil {
				return err
			}
			if len(heads) > 0 && heads[0].Seq == r.Seq {
				if err := x.head(heads[0].Token); err != nil {
					return err
				}
			}
		}
		after = rows[len(rows)-1].Seq
		if x.flush != nil {
			if err := x.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// page reads records of a node after a number and the heads that belong to them, and to the record before them, at one moment.
func (x *export) page(
	ctx context.Context, node string, after, until int64,
) (rows []storage.AuditRecord, heads []storage.SignedHead, err error) {
	err = x.cfg.Store.View(ctx, func(ctx context.Context, r storage.Reader) error {
		if f := x.filter; f.User != "" {
			rows, err = r.UserAuditRecords(ctx, f.Domain, f.User, storage.AuditCursor{Node: node, Seq: after}, exportPage)
			if i := slices.IndexFunc(rows, func(r storage.AuditRecord) bool { return r.Node != node }); i >= 0 {
				rows = rows[:i]
			}
		} else {
			rows, err = r.AuditRecords(ctx, node, after, exportPage)
		}
		if i := slices.IndexFunc(rows, func(r storage.AuditRecord) bool { return r.Seq > until }); i >= 0 {
			rows = rows[:i]
		}
		if err != nil || len(rows) == 0 {
			return err
		}
		// More than a head for each record there is not, and one before.
		heads, err = r.SignedHeads(ctx, node, max(rows[0].Seq-2, 0), exportPage+1)
		return err
	})
	return rows, heads, err
}

// selects reports whether a record is part of an export.
func (f *Filter) selects(r *storage.AuditRecord) bool {
	at := r.At.UTC().Format(timeForm) // as texts, times of this form are in their order
	return (f.Since == "" || at >= f.Since) && (f.Until == "" || at < f.Until)
}

// FormatTime returns a time for a [Filter].
func FormatTime(at time.Time) string { return at.UTC().Format(timeForm) }

// KeySet returns the public keys that ever signed heads as a JWK Set, also those that were retired or revoked, for [VerifyConfig].
func (b *Book) KeySet(ctx context.Context) ([]byte, error) {
	rows, err := b.cfg.Store.SigningKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("audit: keys: %w", err)
	}
	set := struct {
		Keys []json.RawMessage `json:"keys"`
	}{[]json.RawMessage{}}
	for _, k := range rows {
		members := make(map[string]any)
		if err := json.Unmarshal(k.Public, &members); err != nil {
			return nil, fmt.Errorf("audit: keys: %w", err)
		}
		members["kid"], members["alg"], members["use"] = k.KID, k.Alg, "sig"
		key, err := json.Marshal(members)
		if err != nil {
			return nil, fmt.Errorf("audit: keys: %w", err)
		}
		set.Keys = append(set.Keys, key)
	}
	return json.Marshal(set)
}
