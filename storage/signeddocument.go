package storage

import (
	"context"
	"time"
)

// A DocumentKind is a kind of [SignedDocument].
type DocumentKind string

// The kinds of documents that users sign with keys of their own.
const (
	DocumentKeys       DocumentKind = "keys"       // im-keys+jwt; Key is empty
	DocumentDevices    DocumentKind = "devices"    // im-devices+jwt; Key is empty
	DocumentSuccession DocumentKind = "succession" // im-succession+jwt of an earlier master key, whose thumbprint is Key
	DocumentOpinion    DocumentKind = "opinion"    // im-vouch+jwt or im-distrust+jwt about a master key, whose thumbprint is Key
	DocumentProfile    DocumentKind = "profile"    // an Ariadne Signature Profile; Key is its fingerprint
)

// A SignedDocument is what a user signed with a key of their own and stores at the issuer, which can neither make nor change it.
type SignedDocument struct {
	Domain, User string // who signed it
	Kind         DocumentKind
	Key          string // tells documents of a kind apart; see the kinds
	Seq          int64  // of keys and devices
	// Subject names the user that an opinion is about; empty for others. It is one text for each user, however their URI is written.
	Subject string
	// Public is set for an opinion that others than the author are shown.
	Public  bool
	Content string // the document
	// CreatedAt is when the first document with this kind and key was stored, of an opinion the first about the same subject. ChangedAt is
	// when this one was, and ExpiresAt when it expires by what it says, zero for never. It is not deleted then.
	CreatedAt, ChangedAt, ExpiresAt time.Time
}

// A SignedDocumentReader reads documents that users signed.
type SignedDocumentReader interface {
	// SignedDocument returns the document of a user with that kind and key.
	SignedDocument(ctx context.Context, domain, user string, kind DocumentKind, key string) (SignedDocument, error)

	// SignedDocuments returns at most limit documents of a user of a kind, in the order of CreatedAt and Key.
	SignedDocuments(ctx context.Context, domain, user string, kind DocumentKind, limit int) ([]SignedDocument, error)

	// CountSignedDocuments returns how many documents of a kind a user has, at most limit.
	CountSignedDocuments(ctx context.Context, domain, user string, kind DocumentKind, limit int) (int, error)

	// ProfileDocument returns the profile with a fingerprint, whoever's it is.
	ProfileDocument(ctx context.Context, fingerprint string) (SignedDocument, error)

	// PublicOpinions returns at most limit public opinions about a subject that have not expired at now, in the order of CreatedAt; only
	// those by one user if user is not empty.
	PublicOpinions(ctx context.Context, subject, domain, user string, now time.Time, limit int) ([]SignedDocument, error)
}

// A SignedDocumentWriter writes documents that users signed. They go with their user.
type SignedDocumentWriter interface {
	// PutSignedDocument stores a document, in place of one of the same user with the same kind and key, whose CreatedAt stays unless it was
	// about another subject: opinions are shown from the oldest on, and none becomes an old one about somebody else.
	// [ErrNotFound] if there is no such user, and [ErrConflict] for a profile with a fingerprint that another user has one with.
	PutSignedDocument(ctx context.Context, d SignedDocument) error

	// DeleteSignedDocument deletes a document; [ErrNotFound] if it does not exist.
	DeleteSignedDocument(ctx context.Context, domain, user string, kind DocumentKind, key string) error

	// DeleteOpinions deletes at most limit opinions about a subject, of whatever user, and returns how many.
	DeleteOpinions(ctx context.Context, subject string, limit int) (int, error)
}
