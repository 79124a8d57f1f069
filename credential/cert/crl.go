package cert

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"time"
)

// MediaTypeCRL is the type of a list over HTTP (RFC 2585 §4.2).
const MediaTypeCRL = "application/pkix-crl"

// ErrUnknown is the error of every status that cannot be known: it says nothing about the certificate. Each of the errors below wraps it. A
// verifier refuses such a certificate for now, and does not call it revoked.
var ErrUnknown = errors.New("cert: the status cannot be known")

// The reasons why a list cannot be used.
var (
	// ErrUnreachable means that the list could not be fetched, and that none is kept that may still be used.
	ErrUnreachable error = unknown("cert: the revocation list cannot be fetched")
	// ErrNoList means that a source with fixed lists has none of this CA.
	ErrNoList error = unknown("cert: there is no revocation list of the CA")
	// ErrMalformed means that it is not a list in DER, or has an extension that is critical and not known.
	ErrMalformed error = unknown("cert: the revocation list is malformed")
	// ErrTooLarge means that the list has more bytes than the reader allows.
	ErrTooLarge error = unknown("cert: the revocation list is too large")
	// ErrDelta means that the list is a delta CRL (RFC 5280 §5.2.4): it is not complete.
	ErrDelta error = unknown("cert: the revocation list has only changes (delta CRL)")
	// ErrScope means that the list is about other certificates of the CA (RFC 5280 §5.2.5).
	ErrScope error = unknown("cert: the revocation list is about other certificates")
	// ErrIssuer means that the list is of another CA than the certificate.
	ErrIssuer error = unknown("cert: the revocation list is of another CA")
	// ErrSignature means that the key of the CA does not verify the list.
	ErrSignature error = unknown("cert: the signature of the revocation list does not verify")
	// ErrStale means that the list has expired, or is of the future.
	ErrStale error = unknown("cert: the revocation list is not valid now")
	// ErrRollback means that the list is older than one that the reader has seen.
	ErrRollback error = unknown("cert: the revocation list is older than one that was seen before")
)

// unknown is the type of the reasons.
type unknown string

func (u unknown) Error() string { return string(u) }
func (u unknown) Unwrap() error { return ErrUnknown }

// A Reason says why a certificate was revoked (RFC 5280 §5.3.1).
type Reason int

// The reasons that the issuer gives.
const (
	Unspecified          Reason = 0
	KeyCompromise        Reason = 1
	CACompromise         Reason = 2
	AffiliationChanged   Reason = 3 // the handle that the certificate states has ended
	Superseded           Reason = 4 // the key of the device was replaced
	CessationOfOperation Reason = 5 // the device was removed
	PrivilegeWithdrawn   Reason = 9 // the user was disabled
)

// The reasons that others may give.
const (
	certificateHold Reason = 6
	removeFromCRL   Reason = 8
	aaCompromise    Reason = 10
)

var reasons = map[Reason]string{
	Unspecified: "unspecified", KeyCompromise: "keyCompromise", CACompromise: "cACompromise", AffiliationChanged: "affiliationChanged",
	Superseded: "superseded", CessationOfOperation: "cessationOfOperation", certificateHold: "certificateHold",
	removeFromCRL: "removeFromCRL", PrivilegeWithdrawn: "privilegeWithdrawn", aaCompromise: "aACompromise",
}

// String returns the name of the reason in RFC 5280, or its number.
func (r Reason) String() string {
	if name, ok := reasons[r]; ok {
		return name
	}
	return strconv.Itoa(int(r))
}

// compromise reports whether others may know the key.
func (r Reason) compromise() bool {
	return r == KeyCompromise || r == CACompromise || r == aaCompromise
}

// An Entry is a revoked certificate.
type Entry struct {
	Serial *big.Int
	At     time.Time
	Reason Reason
}

// A List is what a revocation list says (RFC 5280 §5).
type List struct {
	// Part is the part of the CA's certificates that the list is about, see [PartOf]. It is empty if the CA has one list.
	Part string
	// Number rises with each list of the CA.
	Number *big.Int
	// From and Until are thisUpdate and nextUpdate, in whole seconds.
	From, Until time.Time
	// Entries are the certificates that are revoked and have not expired, in any order.
	Entries []Entry
}

// SignCRL returns a revocation list in DER, signed by the CA. It is complete for its part. Its entries are ordered by serial number, so
// that they do not tell in which order certificates ended.
func (ca *CA) SignCRL(l List) ([]byte, error) {
	switch {
	case ca.cfg.Split != IsPart(l.Part):
		return nil, errors.New("cert: a revocation list of a CA with several lists is about one part, and else about none")
	case l.Number == nil || l.Number.Sign() < 0:
		return nil, errors.New("cert: a revocation list needs a number")
	case !l.From.Before(l.Until):
		return nil, errors.New("cert: a revocation list must end later than it begins")
	}
	entries := make([]x509.RevocationListEntry, len(l.Entries))
	for i, e := range l.Entries {
		switch _, known := reasons[e.Reason]; {
		case e.Serial == nil || e.Serial.Sign() <= 0:
			return nil, errors.New("cert: an entry of a revocation list needs a serial number")
		case !known || e.Reason == removeFromCRL:
			return nil, fmt.Errorf("cert: a complete revocation list has no reason %v", e.Reason)
		case ca.cfg.Split && PartOf(e.Serial) != l.Part:
			return nil, errors.New("cert: an entry is not of the part that the revocation list is about")
		}
		entries[i] = x509.RevocationListEntry{
			SerialNumber: e.Serial, RevocationTime: e.At.UTC().Truncate(time.Second), ReasonCode: int(e.Reason),
		}
	}
	slices.SortFunc(entries, func(a, b x509.RevocationListEntry) int { return a.SerialNumber.Cmp(b.SerialNumber) })
	for i := range entries[:max(0, len(entries)-1)] {
		if entries[i].SerialNumber.Cmp(entries[i+1].SerialNumber) == 0 { // readers would refuse the whole list
			return nil, errors.New("cert: two entries of a revocation list have one serial number")
		}
	}
	made := &x509.RevocationList{
		Number: l.Number, ThisUpdate: l.From.UTC().Truncate(time.Second), NextUpdate: l.Until.UTC().Truncate(time.Second),
		RevokedCertificateEntries: entries,
	}
	if ca.cfg.Split {
		made.ExtraExtensions = []pkix.Extension{scope(ca.listURL(l.Part))}
	}
	der, err := x509.CreateRevocationList(ca.cfg.Random, made, ca.cfg.Certificate, ca.cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("cert: sign the revocation list: %w", err)
	}
	return der, nil
}

// A CRL is a revocation list that was read. Its author is unknown until [CRL.Verify] has returned nil. It does not change.
type CRL struct {
	// Number is the number of the list, nil if it has none.
	Number *big.Int
	// From and Until are thisUpdate and nextUpdate. Until is never zero.
	From, Until time.Time

	places  []string // where certificates that it is about say that it is; none if it is about all
	size    int
	list    *x509.RevocationList
	entries map[string]Entry // by the bytes of the serial number
}

// ParseCRL reads a revocation list in DER, which is complete for the certificates that it is about. The error is [ErrMalformed] or
// [ErrDelta].
func ParseCRL(der []byte) (*CRL, error) {
	list, err := x509.ParseRevocationList(der)
	if err != nil || !isWhole(der) {
		return nil, ErrMalformed // without the text of the error, which may have names of the list
	}
	var places []string
	for _, e := range list.Extensions {
		switch {
		case e.Id.Equal(oidDeltaCRL):
			return nil, ErrDelta
		case e.Id.Equal(oidDistributionPoint):
			if places != nil {
				return nil, fmt.Errorf("%w: two issuing distribution points", ErrMalformed)
			}
			if places, err = readScope(e.Value); err != nil {
				return nil, err
			}
		case e.Critical: // what the list says may have another meaning
			return nil, fmt.Errorf("%w: a critical extension", ErrMalformed)
		}
	}
	if list.NextUpdate.IsZero() { // RFC 5280 §5.1.2.5 demands it
		return nil, fmt.Errorf("%w: no nextUpdate", ErrMalformed)
	}
	c := &CRL{
		places: places, Number: list.Number, From: list.ThisUpdate, Until: list.NextUpdate, size: len(der), list: signedPart(list),
		entries: make(map[string]Entry, len(list.RevokedCertificateEntries)),
	}
	for _, e := range list.RevokedCertificateEntries {
		for _, x := range e.Extensions {
			if x.Critical || x.Id.Equal(oidCertificateIssuer) { // RFC 5280 §5.3: of an indirect list
				return nil, fmt.Errorf("%w: an entry with a critical extension", ErrMalformed)
			}
		}
		if e.SerialNumber.Sign() < 0 {
			return nil, fmt.Errorf("%w: an entry with a negative serial number", ErrMalformed)
		}
		reason := Reason(e.ReasonCode)
		if reason == removeFromCRL { // only in delta CRLs
			return nil, fmt.Errorf("%w: an entry with the reason %v", ErrMalformed, reason)
		}
		if _, ok := c.entries[string(e.SerialNumber.Bytes())]; ok {
			return nil, fmt.Errorf("%w: two entries with one serial number", ErrMalformed)
		}
		c.entries[string(e.SerialNumber.Bytes())] = Entry{Serial: e.SerialNumber, At: e.RevocationTime, Reason: reason}
	}
	return c, nil
}

// signedPart returns as much of a list as its signature needs: the entries would take several times the memory.
func signedPart(l *x509.RevocationList) *x509.RevocationList {
	return &x509.RevocationList{
		Issuer: l.Issuer, RawIssuer: l.RawIssuer, AuthorityKeyId: l.AuthorityKeyId,
		SignatureAlgorithm: l.SignatureAlgorithm, Signature: l.Signature, RawTBSRevocationList: l.RawTBSRevocationList,
	}
}

// Verify checks that a CA signed the list, and that the list is valid at a time. The error is [ErrIssuer], [ErrSignature] or [ErrStale].
func (c *CRL) Verify(ca *x509.Certificate, now time.Time) error {
	switch {
	case !bytes.Equal(c.list.RawIssuer, ca.RawSubject):
		return ErrIssuer
	case len(c.list.AuthorityKeyId) > 0 && len(ca.SubjectKeyId) > 0 && !bytes.Equal(c.list.AuthorityKeyId, ca.SubjectKeyId):
		return ErrIssuer // of another key of the CA (RFC 5280 §6.3.3, step f)
	case !slices.Contains(signatures, c.list.SignatureAlgorithm), checkKey(ca.PublicKey) != nil:
		return fmt.Errorf("%w: the algorithm or the key is too weak", ErrSignature)
	case c.list.CheckSignatureFrom(ca) != nil: // the CA must have cRLSign
		return ErrSignature
	}
	return c.valid(now)
}

// clockSkew is by how much the clock of a CA may be ahead.
const clockSkew = time.Minute

func (c *CRL) valid(now time.Time) error {
	switch {
	case c.From.After(now.Add(clockSkew)):
		return fmt.Errorf("%w: it is of the future", ErrStale)
	case !now.Before(c.Until):
		return fmt.Errorf("%w: it has expired", ErrStale)
	}
	return nil
}

// Entry returns the entry of a certificate of the CA, and false if it is not revoked.
func (c *CRL) Entry(serial *big.Int) (Entry, bool) {
	e, ok := c.entries[string(serial.Bytes())]
	return e, ok
}

// Len returns how many certificates the list has.
func (c *CRL) Len() int { return len(c.entries) }

// Issuer returns the name of the CA.
func (c *CRL) Issuer() string { return c.list.Issuer.String() }

// olderThan reports whether a list was made before another one of the same CA.
func (c *CRL) olderThan(other mark) bool {
	if c.Number != nil && other.number != nil {
		return c.Number.Cmp(other.number) < 0
	}
	return c.From.Before(other.from)
}

// A mark is what is remembered of the newest list of a place, so that no older one takes its place.
type mark struct {
	number *big.Int
	from   time.Time
}

// CRLs is a [CRLSource] with fixed lists, of any number of CAs.
type CRLs struct {
	Lists []*CRL
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
}

// CRL returns the newest list of a CA that is about certificates which name one of urls. The error is that of the last list of the CA that
// cannot be used, or [ErrNoList].
func (l *CRLs) CRL(_ context.Context, issuer *x509.Certificate, urls []string) (*CRL, error) {
	now := time.Now()
	if l.Now != nil {
		now = l.Now()
	}
	var (
		newest *CRL
		failed = ErrNoList
	)
	for _, c := range l.Lists {
		switch err := c.Verify(issuer, now); {
		case errors.Is(err, ErrIssuer):
		case err != nil:
			failed = err
		case !c.About(urls):
			failed = ErrScope
		case newest == nil || newest.olderThan(mark{c.Number, c.From}):
			newest = c
		}
	}
	if newest == nil {
		return nil, failed
	}
	return newest, nil
}
