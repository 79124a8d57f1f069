package account

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/storage"
)

// MaxMoves is how many links [Accounts.Relink] moves at a time.
const MaxMoves = 1000

// A Subject is an account at an OpenID provider. Both parts are compared exactly.
type Subject struct{ Issuer, Subject string }

// A Move changes one link between a user and an account at an OpenID provider. Exactly two of From, To and User are set. From and
// To replace the account of a link. User and To do the same for a user with one link. From and User give the link to another user.
type Move struct {
	Line     int // of the operator's file
	From, To Subject
	User     string
}

// A Moved is a [Move] with all three fields set.
type Moved struct {
	Move
	// Former is the user who had the link before, if it was another one.
	Former string
}

// A MoveFault says why a move is refused.
type MoveFault struct {
	Line  int
	Words string
}

// MoveFaults is returned by [Accounts.Relink]. It holds every move that is refused, in the order of the file.
type MoveFaults []MoveFault

func (e MoveFaults) Error() string {
	lines := make([]string, len(e))
	for i, f := range e {
		lines[i] = fmt.Sprintf("line %d: %s", f.Line, f.Words)
	}
	return strings.Join(lines, "\n")
}

var errDry = errors.New("account: dry run")

// Relink moves links, all of them or none: people who sign in with the new account at the provider are the users that they were
// before. The target of a move may be an account that another move of the list frees. If a move is refused, the error is
// [MoveFaults]. A dry run makes the same checks and changes nothing. Sessions continue: they belong to the user, not to the link.
func (a *Accounts) Relink(ctx context.Context, domain string, moves []Move, dry bool) (done []Moved, err error) {
	if _, ok := a.domains[domain]; !ok {
		return nil, ErrNoUser
	}
	if len(moves) > MaxMoves {
		return nil, MoveFaults{{moves[MaxMoves].Line, fmt.Sprintf("there are more than %d links to move: split the file", MaxMoves)}}
	}
	err = a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		p := plan{domain: domain, from: make(map[Subject]int), to: make(map[Subject]int)}
		for _, m := range moves {
			if err := p.add(ctx, tx, m); err != nil {
				return err
			}
		}
		if err := p.targets(ctx, tx); err != nil {
			return err
		}
		if done = p.moves; len(p.faults) > 0 {
			return p.faults
		}
		for _, m := range done {
			if err := tx.DeleteLink(ctx, domain, m.From.Issuer, m.From.Subject); err != nil {
				return err
			}
		}
		now := a.now()
		for _, m := range done {
			err := tx.InsertLink(ctx, storage.Link{
				Domain: domain, Issuer: m.To.Issuer, Subject: m.To.Subject, User: m.User, CreatedAt: now,
			})
			if err != nil {
				return err
			}
			event := audit.Event{Kind: audit.LinkMoved, Domain: domain, User: m.User, FormerUser: m.Former}
			if err := audit.Append(ctx, tx, event); err != nil {
				return err
			}
		}
		if dry {
			return errDry
		}
		return nil
	})
	if err != nil && !errors.Is(err, errDry) {
		return nil, fmt.Errorf("account: relink: %w", err)
	}
	return done, nil
}

// A plan collects moves and their faults.
type plan struct {
	domain   string
	moves    []Moved
	from, to map[Subject]int // the lines of the accounts
	faults   MoveFaults
}

func (p *plan) refuse(line int, format string, args ...any) {
	p.faults = append(p.faults, MoveFault{line, fmt.Sprintf(format, args...)})
}

// add completes a move and checks that its link exists and is moved once.
func (p *plan) add(ctx context.Context, tx storage.Tx, m Move) error {
	done := Moved{Move: m}
	if m.User != "" {
		if _, err := tx.User(ctx, p.domain, m.User); errors.Is(err, storage.ErrNotFound) {
			p.refuse(m.Line, "the domain has no user %q", m.User)
			return nil
		} else if err != nil {
			return err
		}
	}
	switch {
	case m.From == Subject{}:
		links, err := tx.Links(ctx, p.domain, m.User)
		if err != nil {
			return err
		}
		if len(links) != 1 {
			p.refuse(m.Line, "user %s has %d links, so say which one: write \"from\" and \"to\"", m.User, len(links))
			return nil
		}
		done.From = Subject{links[0].Issuer, links[0].Subject}
	default:
		u, err := tx.LinkedUser(ctx, p.domain, m.From.Issuer, m.From.Subject)
		if errors.Is(err, storage.ErrNotFound) {
			p.refuse(m.Line, "nobody is linked to %s", m.From)
			return nil
		} else if err != nil {
			return err
		}
		switch {
		case m.User == "":
			done.User = u.ID
		case m.User == u.ID:
			p.refuse(m.Line, "user %s is linked to %s already: nothing would change", u.ID, m.From)
			return nil
		default:
			done.Former, done.To = u.ID, m.From
		}
	}
	if done.From == done.To && done.Former == "" {
		p.refuse(m.Line, "\"from\" and \"to\" are the same: nothing would change")
		return nil
	}
	if first, twice := p.from[done.From]; twice {
		p.refuse(m.Line, "the link to %s is moved by line %d already", done.From, first)
		return nil
	}
	p.from[done.From] = m.Line
	if first, twice := p.to[done.To]; twice {
		p.refuse(m.Line, "%s is given away by line %d already", done.To, first)
		return nil
	}
	p.to[done.To] = m.Line
	p.moves = append(p.moves, done)
	return nil
}

// targets checks that every account to link to is free or is freed by another move.
func (p *plan) targets(ctx context.Context, tx storage.Tx) error {
	for _, m := range p.moves {
		if _, freed := p.from[m.To]; freed {
			continue
		}
		u, err := tx.LinkedUser(ctx, p.domain, m.To.Issuer, m.To.Subject)
		if err == nil {
			p.refuse(m.Line, "%s is linked to user %s already", m.To, u.ID)
		} else if !errors.Is(err, storage.ErrNotFound) {
			return err
		}
	}
	return nil
}

func (s Subject) String() string { return fmt.Sprintf("sub %q of %s", s.Subject, s.Issuer) }
