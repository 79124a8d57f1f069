package credential

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/statuslist"
)

// A StatusSource tells the statuses of credentials; statuslist.Reader is one. Every error means that the status cannot be known now.
type StatusSource interface {
	// Status returns the status of a credential of issuer, which was verified, by its reference.
	Status(ctx context.Context, issuer string, ref statuslist.Reference) (statuslist.Status, error)
}

// Options are the requirements of a verifier on credentials of every format. Zero values are strict.
type Options struct {
	// Issuers knows the trusted issuers, the domains that they may speak for, and their keys; trust.Table is one. Required.
	Issuers nested.KeySource
	// Status tells the status of credentials that have one. Nil refuses them, unless Unchecked is set.
	Status StatusSource
	// Unchecked accepts credentials without looking at their status. [Credential.Checked] then says so.
	Unchecked bool
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Leeway is how far clocks may differ. Zero is none.
	Leeway time.Duration
	// Development also accepts domains that are reserved for tests and examples, and domains of one label.
	Development bool
}

var errLife = fmt.Errorf("must be later than the beginning, by at most %d days", MaxLife/(24*time.Hour))

// Time returns the time of a check.
func (o *Options) Time() time.Time {
	if o.Now == nil {
		return time.Now()
	}
	return o.Now()
}

// VerifySignature verifies the signature of an issuer, which names its key by kid. Verify checks the signature with a key. The error is
// an [*Error] with [CodeSignature] or [CodeIssuer]; any other error means that the keys cannot be known now.
func (o *Options) VerifySignature(ctx context.Context, issuer, kid string, verify func(alg string, key crypto.PublicKey) error) error {
	hasKey := false
	_, _, err := nested.VerifyIssued(ctx, o.Issuers, issuer, kid, func(alg string, key crypto.PublicKey) error {
		hasKey = true
		return verify(alg, key)
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nested.ErrSignature), hasKey && errors.Is(err, claims.ErrIssuer): // the issuer has no other key of that name
		return &Error{Code: CodeSignature}
	case errors.Is(err, claims.ErrIssuer):
		return &Error{Part: "iss", Code: CodeIssuer}
	}
	return fmt.Errorf("credential: the keys of the issuer: %w", err)
}

// Parse reads the URIs of a credential, of which each may be empty, strictly. Names are those of the claims of user, handle and
// device in the credential's format, for the error: an [*Error] with [CodeClaim].
func (o *Options) Parse(names Names, user, handle, device string) (claims.Identity, error) {
	id, err := claims.ParseIdentity(claims.Parser{AllowSingleLabel: o.Development}, user, handle, device)
	return id, names.refuse(err)
}

// Check applies the rules that hold for what every credential says, after its envelope was checked: identifiers and domain, times, and
// last the status. The error is as the package comment says. It changes c as the status demands.
func (o *Options) Check(ctx context.Context, names Names, c *Credential) error {
	if err := o.CheckIdentity(ctx, names, c); err != nil {
		return err
	}
	if err := o.CheckTime(c); err != nil {
		return err
	}
	return o.CheckStatus(ctx, c)
}

// CheckIdentity checks that the identifiers of a credential agree, and that its issuer may speak for their domain. The error is an [*Error]
// with [CodeClaim], [CodeIssuer] or [CodeDomain]; any other error means that this cannot be known now.
func (o *Options) CheckIdentity(ctx context.Context, names Names, c *Credential) error {
	domain := domain(c.Identity)
	if err := names.refuse(c.Identity.Check([]string{domain}, o.Development)); err != nil {
		return err
	}
	err := o.Issuers.Speaks(ctx, c.Issuer, domain)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, claims.ErrDomain):
		return &Error{Part: "iss", Code: CodeDomain}
	case errors.Is(err, claims.ErrIssuer):
		return &Error{Part: "iss", Code: CodeIssuer}
	}
	return fmt.Errorf("credential: the issuers of the domain: %w", err)
}

// CheckTime checks the times of a credential. The error is an [*Error] with [CodeNotYetValid], [CodeExpired] or [CodeClaim].
func (o *Options) CheckTime(c *Credential) error {
	now := o.Time()
	switch {
	case !c.From.Before(c.Until), c.Until.Sub(c.From) > MaxLife:
		return &Error{Part: "exp", Code: CodeClaim, Err: errLife}
	case now.Add(o.Leeway).Before(c.From):
		return &Error{Code: CodeNotYetValid}
	case !now.Before(c.Until.Add(o.Leeway)):
		return &Error{Code: CodeExpired}
	}
	return nil
}

// CheckStatus looks up the status of a credential (draft-ietf-oauth-status-list-20 §8.3). If only the handle has ended, it moves the
// handle from Identity to FormerHandle. The error is an [*Error] with [CodeEnded], [CodeStatus] or [CodeUnchecked]; any other error
// means that the status cannot be known now.
func (o *Options) CheckStatus(ctx context.Context, c *Credential) error {
	if c.Status == nil || o.Unchecked {
		return nil
	}
	if o.Status == nil {
		return &Error{Part: "status", Code: CodeUnchecked}
	}
	status, err := o.Status.Status(ctx, c.Issuer, *c.Status)
	if err != nil {
		return fmt.Errorf("credential: the status: %w", err)
	}
	c.Checked = true
	switch status {
	case statuslist.Valid:
		return nil
	case StatusHandleEnded:
		c.HandleEnded, c.FormerHandle, c.Identity.Handle = true, c.Identity.Handle, claims.ID{}
		return nil
	case statuslist.Invalid:
		return &Error{Code: CodeEnded}
	}
	return &Error{Part: "status", Code: CodeStatus, Err: errors.New(status.String())}
}

// Names are the names that a format gives to the claims of user, handle and device.
type Names struct{ User, Handle, Device string }

// refuse makes a refusal of an error of package claims, which uses the names of access tokens.
func (n Names) refuse(err error) error {
	refused := (*claims.ClaimError)(nil)
	if !errors.As(err, &refused) {
		return err
	}
	part := map[string]string{"sub": n.User, "handle": n.Handle, "device": n.Device}[refused.Claim]
	return &Error{Part: part, Code: CodeClaim, Err: refused.Err}
}
