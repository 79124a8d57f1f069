package oauth

import (
	"context"
	"errors"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/storage"
)

// Statuses are the status lists in which sessions have entries.
type Statuses interface {
	// Serves reports whether the sessions of a domain have entries.
	Serves(domain string) bool
	// Take returns an entry that was never given, for a session of a domain that has entries. It returns false if none is ready.
	// It writes nothing.
	Take(domain string) (storage.StatusEntry, bool)
	// Fill makes entries ready for a domain.
	Fill(ctx context.Context, domain string) error
	// Reference returns the claim for the tokens of a session with an entry.
	Reference(e storage.StatusEntry) *claims.Status
}

// errNoEntry is returned if a session needs an entry and none is ready: the decision is made again after [Statuses.Fill].
var errNoEntry = errors.New("oauth: no entry of a status list is ready")

// errStatusRaced is the refusal of a request that lost a race for the first entry of a session.
var errStatusRaced = refuse(CodeTemporarilyUnavailable,
	"Another request of the session was faster: send the request again with a new proof.")

// refer puts the reference to the entry of its session into a token, if the domain has status lists. A session without an entry gets
// one, which the grant stores when it is committed. It is called once the proof is spent, so that a request that is repeated uses
// up no entry.
func (p *Provider) refer(t *token) error {
	g := t.session
	if g == nil || p.statuses == nil || !p.statuses.Serves(g.Domain) {
		return nil
	}
	if g.Status == (storage.StatusEntry{}) {
		entry, ok := p.statuses.Take(g.Domain)
		if !ok {
			return errNoEntry
		}
		g.Status, t.entered, t.writes = entry, true, true
	}
	t.claims.Status = p.statuses.Reference(g.Status)
	return nil
}

// withEntries calls decide, and again if it needed an entry of a status list and none was ready.
func (p *Provider) withEntries(ctx context.Context, r *tokenRequest, decide func() error) error {
	err := decide()
	for tries := 0; errors.Is(err, errNoEntry) && tries < 3; tries++ {
		if err := p.statuses.Fill(ctx, r.token.session.Domain); err != nil {
			return err
		}
		err = decide()
	}
	return err
}
