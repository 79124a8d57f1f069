package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

const (
	// reasonLoggedOut is stored with the sessions that end because the OpenID provider ended the login.
	reasonLoggedOut = "provider_logout"
	// spentLogout is the kind of the spent ids of logouts.
	spentLogout = "logout"
	// logoutKept is how long a logout is stored, so that it also ends logins that wait on a page of the issuer. It is longer than
	// all steps of a login together may take.
	logoutKept = 2 * time.Hour
)

// ErrLoggedOutBefore is returned by [Accounts.Logout] for a logout that was accepted before.
var ErrLoggedOutBefore = errors.New("account: the logout was accepted before")

// A Logout is the end of logins at an OpenID provider, as the provider reported it: of a session there, or of all of a subject.
type Logout struct {
	Domain, Issuer string
	// Subject and SID are the sub and the sid of the provider. One of them may be empty.
	Subject, SID string
	// At is when they ended, by the clock of the provider.
	At time.Time
	// ID identifies the logout, which is accepted once. It is stored until SpentUntil.
	ID         [32]byte
	SpentUntil time.Time
}

// LoggedOut is the outcome of [Accounts.Logout] for one user.
type LoggedOut struct {
	User          string
	SessionsEnded int
}

// Logout ends the sessions that came from logins at an OpenID provider: those of the session that l names there, or all of the subject
// at that provider. A session whose login had no sid ends with every logout of its subject. The tokens of these sessions end at once;
// codes and pending logins that came from these logins end too. Devices and statements of the user stay. It returns the users that the
// logout is about, which may be none. The error is [ErrLoggedOutBefore] if l.ID was accepted before.
func (a *Accounts) Logout(ctx context.Context, l Logout) ([]LoggedOut, error) {
	var (
		out     []LoggedOut
		revoked []storage.Revocation
	)
	err := a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		out, revoked = nil, nil
		if err := tx.SpendID(ctx, spentLogout, l.ID, l.SpentUntil); errors.Is(err, storage.ErrConflict) {
			return ErrLoggedOutBefore
		} else if err != nil {
			return err
		}
		now := a.now()
		row := storage.Logout{
			Domain: l.Domain, Issuer: l.Issuer, Subject: l.Subject, SID: l.SID, At: l.At, ExpiresAt: now.Add(logoutKept),
		}
		if l.Subject != "" {
			u, err := tx.LinkedUser(ctx, l.Domain, l.Issuer, l.Subject)
			if err == nil {
				row.User = u.ID
				out = append(out, LoggedOut{User: u.ID})
			} else if !errors.Is(err, storage.ErrNotFound) {
				return err
			}
		}
		ended, err := tx.EndLogin(ctx, row, now, reasonLoggedOut)
		if err != nil {
			return err
		}
		var sessions map[string][]storage.Revocation
		out, sessions = byUser(out, ended, revocation.Cause{Reason: reasonLoggedOut, At: now, TokenLife: a.tokenLife})
		for _, u := range out {
			rows, err := a.Revoke(ctx, tx, l.Domain, u.User, sessions[u.User]...)
			if err != nil {
				return err
			}
			revoked = append(revoked, rows...)
			event := audit.Event{Kind: audit.UserLoggedOut, Domain: l.Domain, User: u.User, Peer: l.Issuer}
			if err := audit.Append(ctx, tx, event); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("account: log out: %w", err)
	}
	if err := a.inForce(ctx, revoked); err != nil {
		return nil, err
	}
	return out, nil
}

// byUser adds the users of ended sessions to a list, with the numbers of these, and returns the revocations of each user.
func byUser(list []LoggedOut, ended []storage.Grant, cause revocation.Cause) ([]LoggedOut, map[string][]storage.Revocation) {
	rows := make(map[string][]storage.Revocation)
	at := make(map[string]int)
	for i, u := range list {
		at[u.User] = i
	}
	for _, g := range ended {
		i, known := at[g.User]
		if !known {
			i = len(list)
			at[g.User] = i
			list = append(list, LoggedOut{User: g.User})
		}
		list[i].SessionsEnded++
		rows[g.User] = append(rows[g.User], revocation.RevokeGrant(g.ID, cause))
	}
	return list, rows
}
