package signed

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/xsign"
)

// The limits of a question.
const (
	MaxUsers   = 100 // users
	MaxAuthors = 20  // authors of vouches
	MaxPairs   = 400 // users times authors
	// Each user has at most this many vouches unless the question names their authors, and all users together this many.
	maxVouches, maxAllVouches = 20, 100
	// The statements about one user have at most so many bytes together, but those of the user, which are at most 18; and those about all
	// users.
	maxUser, maxAnswer = 256 << 10, 1 << 20
)

// A Question asks for the statements of users.
type Question struct {
	// Users are the users, at most [MaxUsers].
	Users []claims.ID
	// Authors, unless it is empty, are the users whose vouches are wanted: at most [MaxAuthors], and with Users at most [MaxPairs] pairs.
	// Anybody can vouch, so there may be more vouches than an answer has.
	Authors []claims.ID
}

// A Person holds the statements of a user, and the public vouches about the user.
type Person struct {
	xsign.Bundle // empty for a user of another issuer
	Vouches      []xsign.Introduction
	// More says that there are more vouches.
	More bool
}

// Persons is the answer to a question.
type Persons struct {
	// Found are the users that have statements, in the order of the question; the others are not there.
	Found []claims.ID
	// Of has the statements of each of these.
	Of map[claims.ID]Person
	// Omitted are users that did not fit: ask about them again.
	Omitted []claims.ID
}

// Query returns the statements of users and the public vouches about them, the oldest first, each with the keys of its author. It tells
// nothing of private ones, and nothing of vouches by disabled users.
func (s *Service) Query(ctx context.Context, q Question) (found Persons, err error) {
	err = s.cfg.Store.View(ctx, func(ctx context.Context, r storage.Reader) error {
		found = Persons{Of: make(map[claims.ID]Person)}
		search := &search{Service: s, r: r, authors: make(map[person]*author)}
		size := 0
		for i, id := range q.Users {
			if slices.Contains(q.Users[:i], id) {
				continue
			}
			if size > maxAnswer-maxUser {
				found.Omitted = append(found.Omitted, id)
				continue
			}
			p, n, err := search.person(ctx, id, q.Authors)
			if err != nil {
				return err
			}
			if p.Keys != "" || len(p.Vouches) > 0 {
				found.Found, found.Of[id] = append(found.Found, id), p
				size += n
			}
		}
		return nil
	})
	if err != nil {
		return Persons{}, fmt.Errorf("signed: query: %w", err)
	}
	return found, nil
}

// A search collects the statements of a question, within one snapshot.
type search struct {
	*Service
	r       storage.Reader
	authors map[person]*author
	vouches int // in all
}

// An author of vouches; without keys if their vouches do not count.
type author struct {
	id    claims.ID
	keys  xsign.Bundle // without devices
	bytes int
}

// person returns the statements about one user, and how many bytes they have.
func (s *search) person(ctx context.Context, id claims.ID, authors []claims.ID) (p Person, n int, err error) {
	u, err := s.r.User(ctx, id.Domain(), id.Local())
	if err == nil {
		base, err := readSet(ctx, s.r, u)
		if err != nil {
			return p, 0, err
		}
		p.Bundle = base.bundle()
		n = size(p.Bundle)
	} else if !errors.Is(err, storage.ErrNotFound) {
		return p, 0, err
	}
	subject := account.OpinionSubject(id)
	if len(authors) == 0 {
		rows, err := s.r.PublicOpinions(ctx, subject, "", "", s.cfg.Now(), maxVouches+1)
		if err != nil {
			return p, 0, err
		}
		return s.add(ctx, p, n, rows)
	}
	for i, a := range authors {
		if slices.Contains(authors[:i], a) {
			continue
		}
		rows, err := s.r.PublicOpinions(ctx, subject, a.Domain(), a.Local(), s.cfg.Now(), maxVouches+1)
		if err == nil {
			p, n, err = s.add(ctx, p, n, rows)
		}
		if err != nil {
			return p, 0, err
		}
	}
	return p, n, nil
}

// add adds vouches to the statements about a user.
func (s *search) add(ctx context.Context, p Person, n int, rows []storage.SignedDocument) (Person, int, error) {
	for i, row := range rows {
		by, err := s.author(ctx, row)
		if err != nil {
			return p, 0, err
		}
		if by.keys.Keys == "" {
			continue
		}
		more := len(row.Content) + by.bytes
		if i >= maxVouches || s.vouches >= maxAllVouches || n+more > maxUser {
			p.More = true
			break
		}
		p.Vouches = append(p.Vouches, xsign.Introduction{By: by.keys, User: by.id, Vouch: row.Content})
		s.vouches++
		n += more
	}
	return p, n, nil
}

// author returns the author of a vouch.
func (s *search) author(ctx context.Context, row storage.SignedDocument) (*author, error) {
	key := person{row.Domain, row.User}
	if by := s.authors[key]; by != nil {
		return by, nil
	}
	by := &author{}
	u, err := s.r.User(ctx, row.Domain, row.User)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return nil, err
	}
	if err == nil && u.DisabledAt.IsZero() {
		base, err := readSet(ctx, s.r, u)
		if err != nil {
			return nil, err
		}
		if by.id, err = s.userOf(u); err != nil {
			return nil, err
		}
		by.keys = base.bundle()
		by.keys.Devices = ""
		by.bytes = size(by.keys)
	}
	s.authors[key] = by
	return by, nil
}

// size returns how many bytes a bundle has.
func size(b xsign.Bundle) int {
	n := len(b.Keys) + len(b.Devices)
	for _, text := range b.Succession {
		n += len(text)
	}
	return n
}
