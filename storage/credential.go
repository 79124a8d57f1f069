package storage

import (
	"context"
	"time"
)

const (
	// LongestCredential is the longest life of a credential, whatever the settings say.
	LongestCredential = 90 * 24 * time.Hour
	// CredentialGrace is how long a credential is stored after it has expired, and its end is published: longer than clocks differ.
	CredentialGrace = 24 * time.Hour
)

// A Credential is a lasting credential of a device. What was signed is not stored, only what is needed to list it and to end it.
type Credential struct {
	ID     string // its jti or serial number
	Domain string
	User   string
	Device string
	Format string // as metadata of OpenID4VCI names it
	JKT    string // thumbprint of the key that it is bound to, as in [Device.JKT]; this need not be the key of the device
	// Handle is the canonical local part of the handle that it states; empty if it states none.
	Handle string
	// CA identifies the CA whose revocation list shows its end; empty if it is no certificate.
	CA string
	// Status is its entry in a status list of kind [CredentialStatuses]; zero for a certificate.
	Status    StatusEntry
	IssuedAt  time.Time
	ExpiresAt time.Time
	// EndedAt is when it ended, zero if it did not.
	EndedAt     time.Time
	EndedReason string
	// HandleEndedAt is since when the user has had another handle than the one that it states, zero if they have it. Device and user are
	// still good, but a certificate ended with it.
	HandleEndedAt time.Time
}

// CredentialsOf says which credentials are meant: those that match each field that is not empty. It means none without an ID, or a Domain
// and at least one of User, Device and JKT.
type CredentialsOf struct{ Domain, User, Device, JKT, ID string }

// A CredentialEnd is the end of a credential, or of its handle, in a status list.
type CredentialEnd struct {
	// Number is the place of the change among all changes of the database. A later end of the same credential has another number.
	Number int64
	Index  int // in the list
	// HandleOnly says that only the handle has ended.
	HandleOnly bool
}

// A CertificateEnd is the end of a certificate in the revocation list of its CA.
type CertificateEnd struct {
	// Number is as in [CredentialEnd].
	Number int64
	Serial string // the ID of the credential
	// Reason is a CRLReason (RFC 5280 §5.3.1), made of [Credential.EndedReason].
	Reason    int
	At        time.Time
	ExpiresAt time.Time // of the certificate
}

// A CredentialCount counts the credentials of a device that have not expired.
type CredentialCount struct {
	Live int // those in one format that have not ended
	All  int // those in every format, also if they have ended
}

// RenamedReason is the [Credential.EndedReason] of certificates that ended with the handle that they state.
const RenamedReason = "renamed"

// A CredentialReader reads credentials.
type CredentialReader interface {
	// Credential returns the credential of that id, including an ended or expired one.
	Credential(ctx context.Context, id string) (Credential, error)

	// Credentials returns at most limit credentials of domain, including ended and expired ones, whose ids come after after, in the byte
	// order of their ids; only those of user if user is not empty. A page that is not full is the last one.
	Credentials(ctx context.Context, domain, user, after string, limit int) ([]Credential, error)

	// CredentialsByKey returns at most limit credentials of domain that are bound to the key with thumbprint jkt and have neither ended
	// nor expired at now, in any order.
	CredentialsByKey(ctx context.Context, domain, jkt string, now time.Time, limit int) ([]Credential, error)

	// DeviceCredentials returns at most limit credentials of a device that have not expired at now: those that have not ended, in the byte
	// order of their ids, and then the others, from the one that ended last.
	DeviceCredentials(ctx context.Context, domain, device string, now time.Time, limit int) ([]Credential, error)

	// CountCredentials counts the credentials of a device that have not expired at now, at most up to the numbers of most.
	CountCredentials(ctx context.Context, domain, device, format string, now time.Time, most CredentialCount) (CredentialCount, error)

	// CredentialEnds returns the ends in a status list whose numbers are above after, in their order; of each credential the last one.
	// Numbers are given in commit order, across all lists, and are those of the [History] of revocations: a reader that has seen n never
	// finds a new one below n. An end is stored until the credential has expired and [CredentialGrace] has passed, also when its user is
	// removed.
	CredentialEnds(ctx context.Context, list, after int64) ([]CredentialEnd, error)

	// CountCertificates returns how many certificates of a user have not expired at now, including ended ones, at most limit.
	CountCertificates(ctx context.Context, domain, user string, now time.Time, limit int) (int, error)

	// CertificateEnds returns the ends of certificates of a CA whose numbers are above after, in their order. The numbers are those of
	// CredentialEnds, and the ends are stored as long as those.
	CertificateEnds(ctx context.Context, ca string, after int64) ([]CertificateEnd, error)
}

// A CredentialWriter writes credentials.
//
// A credential ends with its device, user and key, in the transaction of that act and without a call: when [Tx.UpdateDevice] removes the
// device, [Tx.RekeyDevice] replaces its key, [Tx.UpdateUser] disables the user, and [Tx.BeginRemoval] removes them. When [Tx.UpdateUser]
// gives the user another handle, the handle of credentials that state one ends, and certificates that state one end for
// [RenamedReason]; the time of that is exact only if EndCredentialHandles was called before.
type CredentialWriter interface {
	// InsertCredential adds a credential, and keeps its list until the credential has expired and [CredentialGrace] has passed. It has an
	// entry, or it has a CA. [ErrConflict] if its id or its entry was used, if its list is none of its domain for credentials or has
	// ended, or if the user is disabled or removed, has another handle than it states, or has no such device that is not removed.
	InsertCredential(ctx context.Context, c Credential) error

	// EndCredentials ends the credentials that are meant and have not ended, and returns how many these were.
	EndCredentials(ctx context.Context, which CredentialsOf, at time.Time, reason string) (int, error)

	// EndCredentialHandles ends the handles of the credentials of a user that state one and have not ended, and returns how many
	// these were. Certificates end with their handles.
	EndCredentialHandles(ctx context.Context, domain, user string, at time.Time) (int, error)
}
