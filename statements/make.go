package statements

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/oautherror"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/storage"
)

// The scopes that a user can grant to an actor. The server's other endpoints serve the user alone.
const (
	ScopeHandle     = "im:handle"
	ScopeIntrospect = "introspect"
)

// A Statement is a statement that the server has signed.
type Statement struct {
	nested.Statement
	// Token is its compact serialization. It is not stored.
	Token string
}

// Make signs a statement of a user about themselves: a grant to an actor, a delegation to a key of their own, or one half of a
// link. Make fills in subject, issuer, handle and times; v.Expires stays if it is earlier than the longest life of a statement.
// Only a grant for im:handle has a handle, and it ends when the user gets another one. Delegations and links accompany tokens
// of the user, whose scope says whether they tell the handle.
//
// A refusal is an [*oautherror.Error]; any other error means that nothing was decided.
func (s *Service) Make(ctx context.Context, by Holder, v nested.Statement) (Statement, error) {
	user, device, err := s.counted(ctx, s.cfg.Store, by)
	if err != nil {
		return Statement{}, err
	}
	id, err := s.cfg.Accounts.Identify(user, storage.Device{})
	if err != nil {
		return Statement{}, err
	}
	v.Subject = id.User
	if v.Type == nested.TypeActor {
		scopes := strings.Fields(v.Scope)
		if slices.Contains(scopes, ScopeHandle) {
			v.Handle = id.Handle
		}
		for _, scope := range scopes {
			if scope != ScopeHandle && scope != ScopeIntrospect && scope != "openid" {
				return Statement{}, oautherror.New(oautherror.InvalidScope, "An actor may have the scopes im:handle and introspect.")
			}
		}
	}
	row := storage.Statement{Domain: user.Domain, User: user.ID, Device: device.ID}
	return s.sign(ctx, v, row, func(ctx context.Context, tx storage.Tx) error {
		_, now, _, err := s.holder(ctx, tx, by)
		if err == nil && now.Handle != user.Handle {
			err = errChanged
		}
		if err == nil && v.Type == nested.TypeDelegation {
			err = s.checkDelegated(ctx, tx, v.JKT)
		}
		return err
	})
}

// checkDelegated refuses a delegation to the key of a device, in any domain, also of a removed one: the key of a removed device
// must not be of use any more. A delegated key that becomes a device's later ends with that device, see package account.
func (s *Service) checkDelegated(ctx context.Context, r Reader, jkt string) error {
	for domain := range s.domains {
		_, err := r.DeviceByKey(ctx, domain, jkt)
		switch {
		case err == nil:
			return oautherror.New(oautherror.InvalidRequest,
				"The key of jkt is, or was, the key of a device: make a new key for the delegation.")
		case !errors.Is(err, storage.ErrNotFound):
			return err
		}
	}
	return nil
}

// Attest signs a statement by the operator: about a user of a domain of the server, or about an
// organisation, team or role of one. Errors are those of [Service.Make].
func (s *Service) Attest(ctx context.Context, v nested.Statement) (Statement, error) {
	invalid := func(description string) (Statement, error) {
		return Statement{}, oautherror.New(oautherror.InvalidRequest, description)
	}
	id, err := claims.Parser{AllowSingleLabel: true}.Parse(v.Subject)
	if err != nil {
		return invalid("The subject is not an identifier: " + oautherror.Plain(err))
	}
	if !s.domains[id.Domain()] {
		return invalid("The subject is of a domain that this server does not issue in.")
	}
	if v.Type == nested.TypeMember {
		return s.sign(ctx, v, storage.Statement{Domain: id.Domain()}, nil)
	}
	user, err := s.cfg.Store.User(ctx, id.Domain(), id.Local())
	if errors.Is(err, storage.ErrNotFound) {
		return invalid("There is no such user as the subject.")
	} else if err != nil {
		return Statement{}, err
	}
	if !user.DisabledAt.IsZero() {
		return invalid("The subject is disabled: enable the user first.")
	}
	own, err := s.cfg.Accounts.Identify(user, storage.Device{})
	if err != nil {
		return Statement{}, err
	}
	v.Subject = own.User
	if v.Type == nested.TypeActor || v.Type == nested.TypeDelegation {
		return invalid("Only the user can name their actors and keys.")
	}
	v.Handle = own.Handle
	if v.Type == nested.TypeRename {
		if err := s.checkFormerHandle(ctx, user, v.OldHandle); err != nil {
			return Statement{}, err
		}
	}
	return s.sign(ctx, v, storage.Statement{Domain: user.Domain, User: user.ID}, func(ctx context.Context, tx storage.Tx) error {
		return SameUser(ctx, tx, user)
	})
}

// checkFormerHandle checks that a user once had a handle.
func (s *Service) checkFormerHandle(ctx context.Context, user storage.User, handle string) error {
	refusal := oautherror.New(oautherror.InvalidRequest, "The user never had the old handle.")
	id, err := claims.Parser{AllowSingleLabel: true}.Parse(handle)
	if err != nil || id.Domain() != user.Domain {
		return refusal
	}
	names, err := s.cfg.Store.Names(ctx, user.Domain, user.ID)
	if err != nil {
		return fmt.Errorf("statements: read the names of a user: %w", err)
	}
	for _, name := range names {
		if name.Local == id.Local() && !name.ReleasedAt.IsZero() {
			return nil
		}
	}
	return refusal
}

// sign completes a statement, signs it and stores what is needed to withdraw it: row has the user, and the device that made it.
// first runs at the beginning of the transaction; it may be nil.
func (s *Service) sign(
	ctx context.Context, v nested.Statement, row storage.Statement, first func(context.Context, storage.Tx) error,
) (Statement, error) {
	now := s.cfg.Now().Truncate(time.Second)
	v.Issuer, v.IssuedAt, v.NotBefore = s.cfg.Issuer, now, time.Time{}
	if longest := now.Add(s.cfg.Life); v.Expires.IsZero() || v.Expires.After(longest) {
		v.Expires = longest
	}
	// A party that is not an identifier is a client id, which has a meaning only with its issuer.
	_, err := claims.Parser{AllowSingleLabel: true}.Parse(v.Party)
	if err != nil && v.Party != "" && v.PartyIssuer == "" {
		return Statement{}, oautherror.New(oautherror.InvalidRequest,
			"The other party is not an identifier: "+oautherror.Plain(err)+". A client id goes with the URL of its issuer.")
	}
	if v.JTI, err = s.newID(); err != nil {
		return Statement{}, err
	}
	if len(v.Audience) == 0 {
		if v.Audience, err = s.audience(v, row.Domain); err != nil {
			return Statement{}, err
		}
	}
	var (
		signing error
		body    []byte
	)
	token, err := v.Sign(func(typ string, claims []byte) (token string, err error) {
		body = claims
		token, signing = s.cfg.Keys.Sign(typ, claims)
		return token, signing
	})
	if signing != nil {
		return Statement{}, fmt.Errorf("statements: sign: %w", signing)
	} else if err != nil {
		return Statement{}, oautherror.New(oautherror.InvalidRequest, "The statement cannot be made: "+oautherror.Plain(err))
	}
	row.JTI, row.Type, row.Claims, row.CreatedAt, row.ExpiresAt = v.JTI, v.Type, body, v.IssuedAt, v.Expires
	err = s.cfg.Store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		if first != nil {
			if err := first(ctx, tx); err != nil {
				return err
			}
		}
		return s.cfg.Accounts.AddStatement(ctx, tx, row)
	})
	if errors.Is(err, account.ErrTooManyStatements) {
		return Statement{}, oautherror.New(oautherror.InvalidRequest, "You have as many active statements as allowed: "+
			"withdraw one that you no longer need, or wait until one expires.")
	} else if err != nil {
		return Statement{}, err
	}
	return Statement{v, token}, nil
}

// audience returns the parties that may embed a statement unless its maker chose others: the server and the domain of its
// subject, and the issuer or the domain of the other party.
func (s *Service) audience(v nested.Statement, domain string) ([]string, error) {
	own, err := s.cfg.Accounts.DomainURI(domain)
	if err != nil {
		return nil, err
	}
	names := []string{s.cfg.Issuer, own}
	if v.PartyIssuer != "" {
		names = append(names, v.PartyIssuer)
	} else if id, err := (claims.Parser{AllowSingleLabel: true}).Parse(v.Party); err == nil {
		names = append(names, claims.DomainURI(id.Domain()))
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
