package storage

import (
	"context"
	"time"
)

// An AuditHead identifies the last record of the chain of a node. The zero AuditHead is that of an empty chain.
type AuditHead struct {
	Seq  int64
	Hash [32]byte
}

// An AuditRecord is one record of the audit log. Each node of an issuer writes a chain of its own: its records are numbered from 1
// without gaps, and each contains the hash of the one before it. The store keeps the order; internal/audit makes and checks the
// records.
type AuditRecord struct {
	// Node and Seq identify the record: the node that wrote it, and its number in the chain of that node.
	Node string
	Seq  int64
	// Hash is the hash of Record.
	Hash [32]byte
	// Record is the text that is hashed. It never changes.
	Record string
	// Private is what the record says about a person and may have to be erased. Record contains only a commitment to it. Nil if there
	// is none, or if it was erased.
	Private []byte
	At      time.Time
	// Domain and User identify the user that the record is about; User is empty if it is about none.
	Domain, User string
}

// An AuditCursor is a position among the records of a user: after the record of a node with a number.
type AuditCursor struct {
	Node string
	Seq  int64
}

// A SignedHead says, signed by the issuer, which record was the last of a chain at a time.
type SignedHead struct {
	Node string
	Seq  int64
	At   time.Time
	// Token is the signed statement.
	Token string
}

// An AuditReader reads the audit log.
type AuditReader interface {
	// AuditNodes returns the nodes that have a chain, in the byte order of their names.
	AuditNodes(ctx context.Context) ([]string, error)

	// AuditHead returns the head of the chain of a node; the zero AuditHead if there is no record. In a transaction, no other one
	// appends to the chain before this one ends.
	AuditHead(ctx context.Context, node string) (AuditHead, error)

	// AuditRecords returns at most limit records of a node whose numbers are above after, lowest first. Numbers are given in commit
	// order: a reader that has seen n never finds a new one below n.
	AuditRecords(ctx context.Context, node string, after int64, limit int) ([]AuditRecord, error)

	// UserAuditRecords returns at most limit records about a user, of all nodes, after a cursor: in the order of node and number. A page
	// that is not full is the last one.
	UserAuditRecords(ctx context.Context, domain, user string, after AuditCursor, limit int) ([]AuditRecord, error)

	// SignedHeads returns at most limit signed heads of a node whose numbers are above after, lowest first.
	SignedHeads(ctx context.Context, node string, after int64, limit int) ([]SignedHead, error)

	// LastSignedHead returns the signed head of a node with the highest number; [ErrNotFound] if there is none.
	LastSignedHead(ctx context.Context, node string) (SignedHead, error)
}

// An AuditWriter writes the audit log.
type AuditWriter interface {
	// AppendAudit adds a record at the end of the chain of its node; [ErrConflict] if r.Seq is not one above that of the head.
	AppendAudit(ctx context.Context, r AuditRecord) error

	// EraseAudit removes Private from at most limit records about a user, and returns from how many. The chain stays valid.
	EraseAudit(ctx context.Context, domain, user string, limit int) (int, error)

	// EraseOldAudit removes Private from the oldest records of a node, up to the first one that is not older than a time. It goes on where
	// an earlier call stopped, looks at no more than limit records, and returns how many it passed. The chain stays valid.
	EraseOldAudit(ctx context.Context, node string, before time.Time, limit int) (int, error)

	// InsertSignedHead adds a signed head; [ErrConflict] if its number has one in the chain of that node.
	InsertSignedHead(ctx context.Context, h SignedHead) error

	// CutAudit removes the oldest records of a node, those up to the number upTo, and the signed heads below it. It returns how many
	// records it removed. [ErrConflict] unless upTo has a signed head and there is a later record: then it removes nothing.
	CutAudit(ctx context.Context, node string, upTo int64) (int, error)
}
