package server

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/bucket"
	"github.com/imidentity/issuer/oauth"
)

// How many wrong user codes a user may enter, and an address, in the default life of a user code (RFC 8628 §5.1). [oauth.UserCode] says
// what a guess is worth: the guesses of a user find a given code with probability 2^-32. People enter a wrong code once or twice. Those of
// an office share an address.
var (
	guessesOfUser = bucket.Limit{Count: 5, Period: 10 * time.Minute}
	guessesFrom   = bucket.Limit{Count: 30, Period: 10 * time.Minute}
)

// guess runs find, which looks for what waits under a user code that a user has entered. If nothing does, that is a guess, and beyond the
// limits find does not run. It counts before find runs, so that guesses at the same time count, too. Other nodes count
// them as well if they share their limits.
func (l *Limits) guess(ctx context.Context, domain, user string, from netip.Addr, find func() error) error {
	who, network := userKey{domain, user}, dpop.Network(from)
	if wait := l.userCodes.Take(who); wait > 0 {
		return &limited{limitGuesses, wait}
	}
	if wait := l.codesFrom.Take(network); wait > 0 {
		l.userCodes.Give(who)
		return &limited{limitGuesses, wait}
	}
	back := func() {
		l.userCodes.Give(who)
		l.codesFrom.Give(network)
	}
	local := max(l.userCodes.Len(), l.codesFrom.Len())
	all := []bucket.Shared{
		l.sharing.named(guessesOfUser, "user code", domain, user), l.sharing.named(guessesFrom, "user codes from", network.String()),
	}
	if wait := l.sharing.take(ctx, local, all...); wait > 0 {
		back()
		return &limited{limitGuesses, wait}
	}
	err := find()
	if !errors.Is(err, oauth.ErrNoUserCode) {
		back()
		l.sharing.give(ctx, local, all...)
	}
	return err
}
