package storagetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// auditRecord is the record with a number in the chain of a node, about a user.
func auditRecord(node string, seq int64, user string) storage.AuditRecord {
	return storage.AuditRecord{Node: node, Seq: seq, Hash: digest(fmt.Sprint(node, seq)), Record: fmt.Sprintf(`{"node":%q,"seq":%d}`, node, seq),
		Private: []byte("private " + fmt.Sprint(seq)), At: at.Add(time.Duration(seq) * time.Second), Domain: domain, User: user}
}

func signedHead(node string, seq int64) storage.SignedHead {
	return storage.SignedHead{Node: node, Seq: seq, At: at, Token: fmt.Sprint("token ", node, seq)}
}

func appendAudit(t *testing.T, s storage.Store, records ...storage.AuditRecord) {
	t.Helper()
	write(t, s, func(ctx context.Context, tx storage.Tx) (err error) {
		for _, r := range records {
			err = errors.Join(err, tx.AppendAudit(ctx, r))
		}
		return err
	})
}

// wantAudit holds that the chain of a node is want, in pages of any size, and that the head is its last record.
func wantAudit(t *testing.T, s storage.Store, node string, want ...storage.AuditRecord) {
	t.Helper()
	for _, limit := range []int{1, 2, 100} {
		var got []storage.AuditRecord
		for after := int64(0); ; after = got[len(got)-1].Seq {
			page, err := s.AuditRecords(t.Context(), node, after, limit)
			if err != nil || len(page) > limit {
				t.Fatalf("AuditRecords = %d records, %v, want %d at most", len(page), err, limit)
			}
			if got = append(got, page...); len(page) < limit {
				break
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("records of %s in pages of %d =\n%+v, want\n%+v", node, limit, got, want)
		}
	}
	var last storage.AuditHead
	if n := len(want); n > 0 {
		last = storage.AuditHead{Seq: want[n-1].Seq, Hash: want[n-1].Hash}
	}
	if got, err := s.AuditHead(t.Context(), node); err != nil || got != last {
		t.Errorf("AuditHead of %s = %+v, %v, want %+v", node, got, err, last)
	}
}

// A chain is numbered from 1 without gaps, each node has one of its own, and an update that is undone leaves no record.
func testAudit(t *testing.T, s storage.Store) {
	wantAudit(t, s, "a")
	if nodes, err := s.AuditNodes(t.Context()); err != nil || len(nodes) != 0 {
		t.Errorf("AuditNodes = %v, %v, want none", nodes, err)
	}
	bare := auditRecord("a", 3, "")
	bare.Private, bare.Domain = nil, ""
	a := []storage.AuditRecord{auditRecord("a", 1, "alice"), auditRecord("a", 2, "bob"), bare}
	b := []storage.AuditRecord{auditRecord("b", 1, "alice"), auditRecord("b", 2, "alice")}
	appendAudit(t, s, b[0], a[0], a[1])
	appendAudit(t, s, a[2], b[1])
	for _, seq := range []int64{-1, 0, 1, 2, 3, 5} {
		write(t, s, func(ctx context.Context, tx storage.Tx) error {
			if err := tx.AppendAudit(ctx, auditRecord("a", seq, "alice")); err != storage.ErrConflict {
				t.Errorf("AppendAudit of number %d after 3 = %v, want %v", seq, err, storage.ErrConflict)
			}
			return nil
		})
	}
	for _, seq := range []int64{0, 2} {
		write(t, s, func(ctx context.Context, tx storage.Tx) error {
			if err := tx.AppendAudit(ctx, auditRecord("c", seq, "alice")); err != storage.ErrConflict {
				t.Errorf("AppendAudit of number %d to an empty chain = %v, want %v", seq, err, storage.ErrConflict)
			}
			return nil
		})
	}
	undone := errors.New("undone")
	if err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		if err := tx.AppendAudit(ctx, auditRecord("a", 4, "alice")); err != nil {
			return err
		}
		if head, err := tx.AuditHead(ctx, "a"); err != nil || head.Seq != 4 {
			t.Errorf("AuditHead in the update = %+v, %v, want that of 4", head, err)
		}
		return undone
	}); err != undone {
		t.Fatalf("Update = %v, want %v", err, undone)
	}
	wantAudit(t, s, "a", a...)
	wantAudit(t, s, "b", b...)
	if nodes, err := s.AuditNodes(t.Context()); err != nil || !reflect.DeepEqual(nodes, []string{"a", "b"}) {
		t.Errorf("AuditNodes = %v, %v, want a and b", nodes, err)
	}
}

// A user's records are found in all chains. The erasure of what they say about the user changes nothing else.
func testAuditOfAUser(t *testing.T, s storage.Store) {
	a := []storage.AuditRecord{
		auditRecord("a", 1, "alice"), auditRecord("a", 2, "bob"), auditRecord("a", 3, "alice"), auditRecord("a", 4, ""),
	}
	b := []storage.AuditRecord{auditRecord("b", 1, "alice"), auditRecord("b", 2, "alice")}
	b[1].Domain = "example.org"
	a[3].Domain = ""
	appendAudit(t, s, append(a, b...)...)
	of := func(domain, user string, limit int) (got []storage.AuditRecord) {
		t.Helper()
		for cursor := (storage.AuditCursor{}); ; {
			page, err := s.UserAuditRecords(t.Context(), domain, user, cursor, limit)
			if err != nil || len(page) > limit {
				t.Fatalf("UserAuditRecords = %d records, %v, want %d at most", len(page), err, limit)
			}
			if got = append(got, page...); len(page) < limit {
				return got
			}
			cursor = storage.AuditCursor{Node: page[len(page)-1].Node, Seq: page[len(page)-1].Seq}
		}
	}
	want := []storage.AuditRecord{a[0], a[2], b[0]}
	for _, limit := range []int{1, 2, 3, 10} {
		if got := of(domain, "alice", limit); !reflect.DeepEqual(got, want) {
			t.Errorf("records of alice in pages of %d =\n%+v, want\n%+v", limit, got, want)
		}
	}
	if got := of("", "", 10); len(got) != 0 {
		t.Errorf("records of nobody = %+v, want none", got)
	}
	var erased []int
	for range 4 {
		write(t, s, func(ctx context.Context, tx storage.Tx) error {
			n, err := tx.EraseAudit(ctx, domain, "alice", 2)
			erased = append(erased, n)
			return err
		})
	}
	if !reflect.DeepEqual(erased, []int{2, 1, 0, 0}) {
		t.Errorf("erased = %v, want 2, 1 and no more", erased)
	}
	for _, r := range []*storage.AuditRecord{&a[0], &a[2], &b[0]} {
		r.Private = nil
	}
	wantAudit(t, s, "a", a...)
	wantAudit(t, s, "b", b...)
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		if n, err := tx.EraseAudit(ctx, "", "", 10); err != nil || n != 0 {
			t.Errorf("EraseAudit of nobody = %d, %v, want 0", n, err)
		}
		return nil
	})
}

// The beginning of a chain is cut at a signed head, which stays, and the last record is never removed.
func testAuditIsCut(t *testing.T, s storage.Store) {
	var chain []storage.AuditRecord
	for seq := int64(1); seq <= 6; seq++ {
		chain = append(chain, auditRecord("a", seq, "alice"))
	}
	appendAudit(t, s, append(chain, auditRecord("b", 1, "alice"))...)
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		for _, seq := range []int64{2, 4, 6} {
			if err := tx.InsertSignedHead(ctx, signedHead("a", seq)); err != nil {
				return err
			}
		}
		if err := tx.InsertSignedHead(ctx, signedHead("a", 4)); err != storage.ErrConflict {
			t.Errorf("InsertSignedHead = %v, want %v", err, storage.ErrConflict)
		}
		return tx.InsertSignedHead(ctx, signedHead("b", 1))
	})
	heads := func(node string, want ...storage.SignedHead) {
		t.Helper()
		for _, limit := range []int{1, 10} {
			var got []storage.SignedHead
			for after := int64(0); ; after = got[len(got)-1].Seq {
				page, err := s.SignedHeads(t.Context(), node, after, limit)
				if err != nil {
					t.Fatal(err)
				}
				if got = append(got, page...); len(page) < limit {
					break
				}
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("heads of %s = %+v, want %+v", node, got, want)
			}
		}
	}
	cut := func(node string, upTo int64, removed int, want error) {
		t.Helper()
		write(t, s, func(ctx context.Context, tx storage.Tx) error {
			if n, err := tx.CutAudit(ctx, node, upTo); n != removed || err != want {
				t.Errorf("CutAudit of %s at %d = %d, %v, want %d, %v", node, upTo, n, err, removed, want)
			}
			return nil
		})
	}
	if got, err := s.LastSignedHead(t.Context(), "a"); err != nil || got != signedHead("a", 6) {
		t.Errorf("LastSignedHead = %+v, %v, want that of 6", got, err)
	}
	if _, err := s.LastSignedHead(t.Context(), "c"); err != storage.ErrNotFound {
		t.Errorf("LastSignedHead = %v, want %v", err, storage.ErrNotFound)
	}
	cut("a", 1, 0, storage.ErrConflict) // no head
	cut("a", 3, 0, storage.ErrConflict)
	cut("a", 6, 0, storage.ErrConflict) // the last record
	cut("b", 1, 0, storage.ErrConflict)
	cut("c", 1, 0, storage.ErrConflict)
	wantAudit(t, s, "a", chain...)
	cut("a", 2, 2, nil)
	heads("a", signedHead("a", 2), signedHead("a", 4), signedHead("a", 6))
	cut("a", 4, 2, nil)
	cut("a", 4, 0, nil)
	heads("a", signedHead("a", 4), signedHead("a", 6))
	wantAudit(t, s, "a", chain[4:]...)
	heads("b", signedHead("b", 1))
	wantAudit(t, s, "b", auditRecord("b", 1, "alice"))
	next := auditRecord("a", 7, "alice")
	appendAudit(t, s, next)
	wantAudit(t, s, "a", append(chain[4:6:6], next)...)
}

// Racing transactions that append to one chain neither fork it nor leave a gap, and a reader that follows it misses nothing.
func testAuditRaced(t *testing.T, s storage.Store) {
	const n = 64
	followed := make(chan error, 1)
	var seen []int64
	go func() {
		var after int64
		for len(seen) < n {
			page, err := s.AuditRecords(context.Background(), "a", after, 10)
			if err != nil {
				followed <- err
				return
			}
			for _, r := range page {
				seen, after = append(seen, r.Seq), r.Seq
			}
		}
		followed <- nil
	}()
	undone := errors.New("undone")
	errs := race(2*n, func(i int) error {
		return s.Update(context.Background(), func(ctx context.Context, tx storage.Tx) error {
			head, err := tx.AuditHead(ctx, "a")
			if err != nil {
				return err
			}
			if err := tx.AppendAudit(ctx, auditRecord("a", head.Seq+1, fmt.Sprint(i))); err != nil || i < n {
				return err
			}
			return undone
		})
	})
	for i, err := range errs {
		if want := map[bool]error{true: nil, false: undone}[i < n]; err != want {
			t.Errorf("Update %d = %v, want %v", i, err, want)
		}
	}
	if err := <-followed; err != nil {
		t.Fatal(err)
	}
	for i, seq := range seen {
		if seq != int64(i+1) {
			t.Fatalf("numbers = %v, want 1 to %d", seen, n)
		}
	}
}
