package oauth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// A Person is a user who asks about her own account, as her access token says: by a session that she logged in for.
type Person struct{ Domain, User, SID string }

// errLogin is about a person whose session is over, or who never had one.
var errLogin = refuse(CodeAccessDenied, "This is for a device that logged in, and whose session is alive: log in again.")

// A Statement is one that the server has signed.
type Statement struct {
	nested.Statement
	// Token is its compact serialization. It is there when the statement is made, and not kept.
	Token string
}

// State signs a statement on behalf of a person about herself: a grant to an actor, a delegation to a key of her own, or
// one half of a link. Subject, Issuer, Handle and times are filled in; s.Expires stays if it is earlier than the longest
// life of a statement. A handle has only a grant for im:handle, which ends when she gets another one: delegations and links go
// with tokens about herself, whose scope says whether they tell it. The error is an [*Error], or means that nothing was decided.
func (p *Provider) State(ctx context.Context, who Person, s nested.Statement) (Statement, error) {
	grant, user, device, err := p.person(ctx, p.store, who)
	if err != nil {
		return Statement{}, err
	}
	if err := p.limiter.User(user, grant.Client); err != nil {
		return Statement{}, err
	}
	id, err := p.accounts.Identify(user, storage.Device{})
	if err != nil {
		return Statement{}, err
	}
	s.Subject = id.User
	if s.Type == nested.TypeActor {
		if slices.Contains(scopeList(s.Scope), ScopeHandle) {
			s.Handle = id.Handle
		}
		for _, scope := range scopeList(s.Scope) {
			// What the server's own endpoints do for her stays with her.
			if scope != ScopeHandle && scope != ScopeIntrospect { // exchangeGrant knows them, too
				return Statement{}, refuse(CodeInvalidScope, "An actor may have the scopes im:handle and introspect.")
			}
		}
	}
	return p.sign(ctx, s, storage.Statement{Domain: user.Domain, User: user.ID, Device: device.ID}, func(ctx context.Context, tx storage.Tx) error {
		_, now, _, err := p.person(ctx, tx, who)
		if err == nil && now.Handle != user.Handle {
			err = errChanged
		}
		if err == nil && s.Type == nested.TypeDelegation {
			err = p.delegable(ctx, tx, s.JKT)
		}
		return err
	})
}

var errDelegateDevice = refuse(CodeInvalidRequest, "The key of jkt is, or was, the key of a device: make a new key for the delegation.")

// delegable refuses to delegate to the key of a device, in any domain, also of a removed one: whoever removes a device means
// that its key does nothing more. (A delegation key that becomes a device's later ends with that device, see package account.)
func (p *Provider) delegable(ctx context.Context, r storage.Reader, jkt string) error {
	for domain := range p.domains {
		_, err := r.DeviceByKey(ctx, domain, jkt)
		switch {
		case err == nil:
			return errDelegateDevice
		case !errors.Is(err, storage.ErrNotFound):
			return err
		}
	}
	return nil
}

// person finds the rows of a person who may speak for herself now.
func (p *Provider) person(ctx context.Context, r storage.Reader, who Person) (storage.Grant, storage.User, storage.Device, error) {
	g, u, d, err := r.Session(ctx, who.SID)
	if err != nil {
		return g, u, d, notFound(err, errLogin)
	}
	if !live(g, p.now()) || g.Domain != who.Domain || g.User != who.User || !u.DisabledAt.IsZero() || !d.RemovedAt.IsZero() {
		return g, u, d, errLogin
	}
	return g, u, d, nil
}

// Attest signs a statement on behalf of the operator, who answers for it: about a user of one of the domains, or about an
// organisation, team or role of one. Errors are those of [Provider.State].
func (p *Provider) Attest(ctx context.Context, s nested.Statement) (Statement, error) {
	id, err := claims.Parser{AllowSingleLabel: true}.Parse(s.Subject)
	if err != nil {
		return Statement{}, refuse(CodeInvalidRequest, "The subject is not an identifier: "+plain(err))
	}
	if _, ok := p.domains[id.Domain()]; !ok {
		return Statement{}, refuse(CodeInvalidRequest, "The subject is of a domain that this server does not issue in.")
	}
	if s.Type == nested.TypeMember {
		return p.sign(ctx, s, storage.Statement{Domain: id.Domain()}, nil)
	}
	user, err := p.store.User(ctx, id.Domain(), id.Local())
	if err != nil {
		return Statement{}, notFound(err, refuse(CodeInvalidRequest, "There is no such user as the subject."))
	}
	if !user.DisabledAt.IsZero() {
		return Statement{}, refuse(CodeInvalidRequest, "The subject is disabled: enable the user first.")
	}
	own, err := p.accounts.Identify(user, storage.Device{})
	if err != nil {
		return Statement{}, err
	}
	s.Subject = own.User
	if s.Type == nested.TypeActor || s.Type == nested.TypeDelegation {
		return Statement{}, refuse(CodeInvalidRequest, "Only the user can name their actors and keys.")
	}
	s.Handle = own.Handle
	if s.Type == nested.TypeRename {
		if err := p.hadHandle(ctx, user, s.OldHandle); err != nil {
			return Statement{}, err
		}
	}
	return p.sign(ctx, s, storage.Statement{Domain: user.Domain, User: user.ID}, func(ctx context.Context, tx storage.Tx) error {
		return asRead(ctx, tx, user)
	})
}

// hadHandle checks that a user once had the handle that a statement says she had.
func (p *Provider) hadHandle(ctx context.Context, user storage.User, handle string) error {
	refusal := refuse(CodeInvalidRequest, "The user never had the old handle.")
	id, err := claims.Parser{AllowSingleLabel: true}.Parse(handle)
	if err != nil || id.Domain() != user.Domain {
		return refusal
	}
	names, err := p.store.Names(ctx, user.Domain, user.ID)
	if err != nil {
		return fmt.Errorf("oauth: look at the names of a user: %w", err)
	}
	for _, name := range names {
		if name.Local == id.Local() && !name.ReleasedAt.IsZero() {
			return nil
		}
	}
	return refusal
}

var errStatements = refuse(CodeInvalidRequest, "You have as many standing statements as allowed: withdraw one that you no longer need, or wait until one expires.")

var errChanged = refuse(CodeTemporarilyUnavailable, "The account has just changed: ask again, with a new proof where there was one.")

// sign completes a statement, signs it and keeps what is needed to withdraw it: row says of whom it is, and by which device.
// First runs in the transaction, before.
func (p *Provider) sign(ctx context.Context, s nested.Statement, row storage.Statement, first func(context.Context, storage.Tx) error) (Statement, error) {
	now := p.now().Truncate(time.Second)
	s.Issuer, s.IssuedAt, s.NotBefore = p.issuer, now, time.Time{}
	if longest := now.Add(p.lifetimes.Statement); s.Expires.IsZero() || s.Expires.After(longest) {
		s.Expires = longest
	}
	// What names nobody binds nobody. A client id means something with its issuer only.
	_, err := claims.Parser{AllowSingleLabel: true}.Parse(s.Party)
	if err != nil && s.Party != "" && s.PartyIssuer == "" {
		return Statement{}, refuse(CodeInvalidRequest, "The other party is not an identifier: "+plain(err)+". A client id goes with the URL of its issuer.")
	}
	if s.JTI, err = p.newGrantID(); err != nil {
		return Statement{}, err
	}
	if len(s.Audience) == 0 {
		if s.Audience, err = p.readers(s, row.Domain); err != nil {
			return Statement{}, err
		}
	}
	var (
		signing error
		kept    []byte
	)
	token, err := s.Sign(func(typ string, claims []byte) (token string, err error) {
		kept = claims
		token, signing = p.keys.Sign(typ, claims)
		return token, signing
	})
	if signing != nil {
		return Statement{}, fmt.Errorf("oauth: sign a statement: %w", signing)
	} else if err != nil {
		return Statement{}, refuse(CodeInvalidRequest, "The statement cannot be made: "+plain(err))
	}
	row.JTI, row.Type, row.Claims, row.CreatedAt, row.ExpiresAt = s.JTI, s.Type, kept, s.IssuedAt, s.Expires
	err = p.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		if first != nil {
			if err := first(ctx, tx); err != nil {
				return err
			}
		}
		return p.accounts.AddStatement(ctx, tx, row)
	})
	if errors.Is(err, account.ErrTooManyStatements) {
		return Statement{}, errStatements
	} else if err != nil {
		return Statement{}, err
	}
	return Statement{s, token}, nil
}

// readers are those who may embed a statement whose audience nobody chose: this server and its domain, and the issuer or
// the domain of the other party.
func (p *Provider) readers(s nested.Statement, domain string) ([]string, error) {
	own, err := p.accounts.DomainURI(domain)
	if err != nil {
		return nil, err
	}
	names := []string{p.issuer, own}
	if s.PartyIssuer != "" {
		names = append(names, s.PartyIssuer)
	} else if id, err := (claims.Parser{AllowSingleLabel: true}).Parse(s.Party); err == nil {
		names = append(names, claims.DomainURI(id.Domain()))
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Statements returns a page of the live statements about subjects of a domain, without their tokens, as
// [account.Accounts.Statements] does.
func (p *Provider) Statements(ctx context.Context, domain, user, after string, limit int) ([]nested.Statement, error) {
	rows, err := p.accounts.Statements(ctx, domain, user, after, limit)
	if err != nil {
		return nil, err
	}
	return parsed(rows)
}

// parsed reads stored statements.
func parsed(rows []storage.Statement) (list []nested.Statement, err error) {
	list = make([]nested.Statement, len(rows))
	for i, row := range rows {
		if list[i], err = nested.ParseStatement(row.Type, row.Claims); err != nil {
			return nil, fmt.Errorf("oauth: read a kept statement: %w", err)
		}
	}
	return list, nil
}

// MaxPage is how many statements one page of [Provider.OwnStatements] holds at most. A statement has at most 8 KiB, so that
// bounds the answer.
const MaxPage = 50

var errCursor = refuse(CodeInvalidRequest, "The parameter cursor is malformed: leave it out for the first page, and take it from the Link header for the next.")

// OwnStatements returns one page of the statements of a type about a person that stand, oldest first, without their tokens,
// and the cursor of the next page; it is empty after the last one. The request counts for the user. Errors are those of
// [Provider.State].
func (p *Provider) OwnStatements(ctx context.Context, who Person, typ, cursor string, limit int) ([]nested.Statement, string, error) {
	grant, user, _, err := p.person(ctx, p.store, who)
	if err != nil {
		return nil, "", err
	}
	if err := p.limiter.User(user, grant.Client); err != nil {
		return nil, "", err
	}
	rows, next, err := p.accounts.StatementPage(ctx, who.Domain, who.User, typ, cursor, min(limit, MaxPage))
	if errors.Is(err, account.ErrCursor) {
		return nil, "", errCursor
	} else if err != nil {
		return nil, "", err
	}
	list, err := parsed(rows)
	return list, next, err
}

// Withdraw ends a statement of a type about a user, with all that rests on it. [account.ErrNoStatement] if there is none.
func (p *Provider) Withdraw(ctx context.Context, who Person, typ, jti string) error {
	grant, user, _, err := p.person(ctx, p.store, who)
	if err != nil {
		return err
	}
	if err := p.limiter.User(user, grant.Client); err != nil {
		return err
	}
	s, err := p.store.Statement(ctx, jti)
	if errors.Is(err, storage.ErrNotFound) || err == nil && s.Type != typ {
		return account.ErrNoStatement
	} else if err != nil {
		return err
	}
	_, err = p.accounts.Withdraw(ctx, who.Domain, who.User, jti, "withdrawn")
	return err
}

// WithdrawSigned ends a statement that a key of a person's own signed: what encloses it is inactive, and it is not taken any
// more. The person sends the statement itself, since this server stores none that it did not sign, and along the tokens that
// it names by digest. It returns the jti of the statement. Errors are those of [Provider.State].
func (p *Provider) WithdrawSigned(ctx context.Context, who Person, statement string, along []string) (jti string, err error) {
	grant, user, _, err := p.person(ctx, p.store, who)
	if err != nil {
		return "", err
	}
	if err := p.limiter.User(user, grant.Client); err != nil {
		return "", err
	}
	o := p.opening(nested.TypeDevice, nested.TypeActor, nested.TypeLink, nested.TypeDelegation)
	o.AnyAudience, o.Revoked, o.Along = true, nil, along // whoever it is for; and to withdraw it again changes nothing
	tree, err := nested.Open(ctx, statement, o)
	var refused *nested.Error
	if errors.As(err, &refused) {
		return "", refuse(CodeInvalidRequest, "The statement does not hold: "+strings.TrimPrefix(plain(err), "nested: "))
	} else if err != nil {
		return "", err
	}
	own, err := p.accounts.Identify(user, storage.Device{})
	if err != nil {
		return "", err
	}
	root := tree.Root
	if root.Issuer != root.Subject || root.Subject != own.User {
		return "", refuse(CodeInvalidRequest, "The statement is none that a key of yours signed. One that this server signed is withdrawn by its id.")
	}
	delegation := ""
	for _, l := range tree.Layers() {
		if l.Issuer == p.issuer && l.Type == nested.TypeDelegation {
			delegation = l.JTI()
		}
	}
	row := revocation.RevokeToken(root.RevocationKey(), revocation.Cause{
		Reason: "withdrawn", At: p.now(), TokenLife: tree.Until.Sub(p.now()),
	})
	return root.JTI(), p.accounts.RevokeSigned(ctx, who.Domain, who.User, delegation, row, func(ctx context.Context, tx storage.Tx) error {
		_, _, _, err := p.person(ctx, tx, who)
		return err
	})
}
