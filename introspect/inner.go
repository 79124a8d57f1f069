package introspect

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/nested"
)

// An inner is a token that a token of the issuer encloses, with what is checked about it for each question.
type inner struct {
	Inner
	ids Token
	// statement says that the token is a statement of the issuer, which has a record of it.
	statement bool
	// domain is the domain of the subject. The issuer of the token must still be trusted for it. Empty for a service.
	domain string
}

// open checks the tokens that t encloses by the rules of package nested. The signature and claims of t have been checked.
func (i *Introspector) open(ctx context.Context, t *token, along []string) error {
	if i.cfg.Authority == nil {
		return &nested.Error{Code: nested.CodeIssuer} // no issuer is trusted: a refusal, not an outage
	}
	tree, err := nested.Check(ctx, t.Set, nested.Options{
		Keys: i.cfg.Authority, Audience: t.Audience, Along: along, Now: i.cfg.Now, Leeway: leeway,
		Development: i.cfg.Development, Status: i.ownStatus,
	})
	if err != nil {
		return err
	}
	t.tree = tree
	for _, l := range tree.Layers()[1:] {
		in, err := i.inner(l)
		if err != nil {
			return err
		}
		t.inner, t.shown = append(t.inner, in), append(t.shown, in.Inner)
	}
	return nil
}

// ownStatus tells package nested about the `status` of an enclosed token. Whether one of the issuer has ended is looked up for each
// question. The status lists of other issuers are not read, so their tokens with a `status` are refused.
func (i *Introspector) ownStatus(_ context.Context, l *nested.Layer) (bool, error) {
	if l.Issuer != i.cfg.Issuer {
		return false, nested.ErrNotAsked
	}
	return true, nil
}

// inner returns the identifiers by which an enclosed token may be revoked, and who knows about that.
func (i *Introspector) inner(l *nested.Layer) (inner, error) {
	in := inner{Inner: Inner{Layer: l, Checked: l.Issuer == i.cfg.Issuer}}
	if l.Access != nil {
		t, err := newToken(*l.Access, l.Kid)
		if err != nil {
			return in, err
		}
		in.ids, in.domain = t.ids, t.ids.Domain // it has no actor: no relation takes a token with one
		return in, nil
	}
	// A statement holds for a user under every handle, whatever their generation.
	in.ids = Token{JTI: l.RevocationKey(), KID: l.Kid, Gen: math.MaxInt64}
	in.statement = l.Issuer == i.cfg.Issuer
	id, err := (claims.Parser{AllowSingleLabel: true}).Parse(l.Subject)
	if err != nil {
		return in, err
	}
	in.domain = id.Domain()
	if l.Issuer == l.Subject { // signed by a user's own key: the issuer of the user knows whether it was withdrawn
		in.Checked = in.Checked || slices.Contains(i.cfg.Domains, in.domain)
	}
	if id.Type() == claims.TypeUser {
		in.ids.Domain, in.ids.User = id.Domain(), id.Local()
	}
	return in, nil
}

// judgeInner checks what may have changed since the enclosed tokens were opened: time, revocation, and the trust in their
// issuers. A token also depends on the sessions of those who act. It returns an empty reason if all is well.
func (i *Introspector) judgeInner(
	ctx context.Context, t *token, now time.Time,
) (reason Reason, path string, err error) {
	for _, sid := range t.actors {
		if reason, err := i.ended(ctx, Token{SID: sid}, i.cfg.Records.Session, sid); err != nil || reason != "" {
			return reason, "", err
		}
	}
	for _, in := range t.inner {
		if !now.Before(in.Until) {
			return Expired, in.Path, nil
		}
		if in.Checked {
			record := i.cfg.Records.Statement
			if !in.statement {
				record = nil
			}
			if reason, err := i.ended(ctx, in.ids, record, in.ids.JTI); err != nil || reason != "" {
				return reason, in.Path, err
			}
		}
		if in.Kid == "" { // signed by a user's key, under a delegation that is another enclosed token
			continue
		}
		err := i.trusted(ctx, in)
		switch {
		case errors.Is(err, errOtherKey):
			return Reason(nested.CodeSignature), in.Path, nil
		case errors.Is(err, claims.ErrDomain):
			return Reason(nested.CodeDomain), in.Path, nil
		case errors.Is(err, claims.ErrIssuer):
			return Reason(nested.CodeIssuer), in.Path, nil
		case err != nil:
			return "", "", err
		}
	}
	return "", "", nil
}

// judgeHome checks whether the home issuer of a user of another domain is still trusted for that domain: a token that was made by
// identity chaining ends when the peer is suspended or removed. It returns an empty reason if all is well.
func (i *Introspector) judgeHome(ctx context.Context, t *token) (Reason, error) {
	if i.cfg.Authority == nil {
		return Revoked, nil
	}
	err := i.cfg.Authority.Speaks(ctx, t.HomeIss, t.ids.Domain)
	if errors.Is(err, claims.ErrIssuer) || errors.Is(err, claims.ErrDomain) {
		return Revoked, nil
	}
	return "", err
}

// ended returns the reason of a revocation that matches ids, or else the reason in the record of that id. A nil record means
// that there is none to read.
func (i *Introspector) ended(
	ctx context.Context, ids Token, record func(ctx context.Context, id string) (Reason, error), id string,
) (Reason, error) {
	reason, err := i.cfg.Revocations.Revoked(ctx, ids)
	if err != nil || reason != "" || record == nil {
		return reason, err
	}
	return record(ctx, id)
}

// errOtherKey means that the issuer now has another key under the same kid.
var errOtherKey = errors.New("introspect: signed by a key that its issuer has replaced")

// trusted returns nil if the issuer of an enclosed token still has the key and still speaks for the domain of the subject.
func (i *Introspector) trusted(ctx context.Context, in inner) error {
	key, _, err := i.cfg.Authority.Key(ctx, in.Issuer, in.Kid)
	if err != nil {
		return err
	}
	if !in.SignedBy(key) {
		return errOtherKey
	}
	if in.domain == "" {
		return nil // a service belongs to its issuer
	}
	return i.cfg.Authority.Speaks(ctx, in.Issuer, in.domain)
}
