package statements

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/oautherror"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// List returns a page of the active statements about subjects of a domain, without their tokens, as
// [account.Accounts.Statements] does.
func (s *Service) List(ctx context.Context, domain, user, after string, limit int) ([]nested.Statement, error) {
	rows, err := s.cfg.Accounts.Statements(ctx, domain, user, after, limit)
	if err != nil {
		return nil, err
	}
	return parse(rows)
}

// parse reads stored statements.
func parse(rows []storage.Statement) (list []nested.Statement, err error) {
	list = make([]nested.Statement, len(rows))
	for i, row := range rows {
		if list[i], err = nested.ParseStatement(row.Type, row.Claims); err != nil {
			return nil, fmt.Errorf("statements: read a stored statement: %w", err)
		}
	}
	return list, nil
}

// MaxPage is how many statements one page of [Service.Own] holds at most. A statement has at most 8 KiB, so that bounds the
// answer.
const MaxPage = 50

// Own returns one page of the active statements of a type about a user, oldest first, without their tokens, and the cursor of
// the next page; it is empty after the last one. The request counts for the user. Errors are those of [Service.Make].
func (s *Service) Own(ctx context.Context, by Holder, typ, cursor string, limit int) ([]nested.Statement, string, error) {
	var (
		rows []storage.Statement
		next string
	)
	err := s.cfg.Store.View(ctx, func(ctx context.Context, r storage.Reader) (err error) {
		if _, _, err = s.counted(ctx, r, by); err == nil { // first, since the snapshot is that of the first read
			rows, next, err = s.cfg.Accounts.StatementPage(ctx, r, by.Domain, by.User, typ, cursor, min(limit, MaxPage))
		}
		return err
	})
	if errors.Is(err, account.ErrCursor) {
		return nil, "", oautherror.New(oautherror.InvalidRequest, "The parameter cursor is malformed: "+
			"leave it out for the first page, and take it from the Link header for the next.")
	} else if err != nil {
		return nil, "", err
	}
	list, err := parse(rows)
	return list, next, err
}

// OwnStatement returns an active statement of a type about a user, without its token. The error is [account.ErrNoStatement] if there is
// none; others are those of [Service.Make].
func (s *Service) OwnStatement(ctx context.Context, by Holder, typ, jti string) (nested.Statement, error) {
	var row storage.Statement
	err := s.cfg.Store.View(ctx, func(ctx context.Context, r storage.Reader) (err error) {
		if _, _, err = s.counted(ctx, r, by); err == nil {
			row, err = r.Statement(ctx, jti)
		}
		return err
	})
	if errors.Is(err, storage.ErrNotFound) || err == nil &&
		(row.Domain != by.Domain || row.User != by.User || row.Type != typ || !account.Stands(row, s.cfg.Now())) {
		return nested.Statement{}, account.ErrNoStatement
	} else if err != nil {
		return nested.Statement{}, err
	}
	list, err := parse([]storage.Statement{row})
	if err != nil {
		return nested.Statement{}, err
	}
	return list[0], nil
}

// Withdraw ends a statement of a type about a user, with all that rests on it. The error is [account.ErrNoStatement] if there
// is none; others are those of [Service.Make].
func (s *Service) Withdraw(ctx context.Context, by Holder, typ, jti string) error {
	if _, _, err := s.counted(ctx, s.cfg.Store, by); err != nil {
		return err
	}
	row, err := s.cfg.Store.Statement(ctx, jti)
	if errors.Is(err, storage.ErrNotFound) || err == nil && row.Type != typ {
		return account.ErrNoStatement
	} else if err != nil {
		return err
	}
	_, err = s.cfg.Accounts.Withdraw(ctx, by.Domain, by.User, jti, "withdrawn")
	return err
}

// WithdrawSigned ends a statement that a key of the user signed: a token that encloses it is inactive, and the statement is
// refused from now on. The user sends the statement itself, since the server stores only its own, and along the tokens that the
// statement names by digest. The result is the jti of the statement. Errors are those of [Service.Make].
func (s *Service) WithdrawSigned(ctx context.Context, by Holder, statement string, along []string) (jti string, err error) {
	user, _, err := s.counted(ctx, s.cfg.Store, by)
	if err != nil {
		return "", err
	}
	o := s.Options(nested.TypeDevice, nested.TypeActor, nested.TypeLink, nested.TypeDelegation)
	o.AnyAudience, o.Along = true, along
	o.Revoked = nil // withdrawing it again changes nothing
	tree, err := nested.Open(ctx, statement, o)
	var refused *nested.Error
	if errors.As(err, &refused) {
		return "", oautherror.New(oautherror.InvalidRequest,
			"The statement does not hold: "+strings.TrimPrefix(oautherror.Plain(err), "nested: "))
	} else if err != nil {
		return "", err
	}
	own, err := s.cfg.Accounts.Identify(user, storage.Device{})
	if err != nil {
		return "", err
	}
	root := tree.Root
	if root.Issuer != root.Subject || root.Subject != own.User {
		return "", oautherror.New(oautherror.InvalidRequest,
			"The statement is none that a key of yours signed. One that this server signed is withdrawn by its id.")
	}
	delegation := ""
	for _, l := range tree.Layers() {
		if l.Issuer == s.cfg.Issuer && l.Type == nested.TypeDelegation {
			delegation = l.JTI()
		}
	}
	now := s.cfg.Now()
	row := revocation.RevokeToken(root.RevocationKey(), revocation.Cause{Reason: "withdrawn", At: now, TokenLife: tree.Until.Sub(now)})
	live := func(ctx context.Context, tx storage.Tx) error {
		if _, _, _, err := s.holder(ctx, tx, by); err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Event{
			Kind: audit.StatementWithdrawn, Domain: by.Domain, User: by.User, Session: by.SID, Statement: root.JTI(),
			Reason: "signed by a key of the user",
		})
	}
	return root.JTI(), s.cfg.Accounts.RevokeSigned(ctx, by.Domain, by.User, delegation, row, live)
}
