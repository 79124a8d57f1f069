package recheck

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/login"
	"github.com/imidentity/issuer/storage"
)

const (
	// backoff is how long a provider is not asked about a login after it could not answer.
	backoff = 30 * time.Second
	// pause is how long a provider is not asked about any login after it could not be reached: else each refresh would wait for it.
	pause = 5 * time.Second
	// lease is how long a node may take beyond the timeout to write an answer. Then the question counts as interrupted.
	lease = 10 * time.Second
	// glance is how often a question of another node is looked at.
	glance = 50 * time.Millisecond
)

var errBackoff = errors.New("the provider could not be asked a moment ago")

// A flight is a question that several requests of this process wait for.
type flight struct {
	done  chan struct{}
	alive bool
	err   error
}

// share asks the provider of a token, or waits for a request that does so already. The question goes on if the client of the request goes
// away: a replaced token must be stored.
func (c *Checker) share(ctx context.Context, id string, s session) (alive bool, err error) {
	c.mu.Lock()
	f, flies := c.flights[id]
	if !flies {
		f = &flight{done: make(chan struct{}), err: errors.New("recheck: the question was given up")}
		c.flights[id] = f
	}
	c.mu.Unlock()
	if flies {
		select {
		case <-f.done:
			return f.alive, f.err
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	defer func() {
		c.mu.Lock()
		delete(c.flights, id)
		c.mu.Unlock()
		close(f.done)
	}()
	// Twice the timeout: another node may have to be waited for.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*c.cfg.Timeout+lease)
	defer cancel()
	f.alive, f.err = c.run(ctx, id, s)
	return f.alive, f.err
}

// run asks the provider of a token unless another node does, and then takes its answer.
func (c *Checker) run(ctx context.Context, id string, s session) (alive bool, err error) {
	waited := time.NewTimer(c.cfg.Timeout)
	defer waited.Stop()
	for {
		u, err := c.cfg.Store.UpstreamToken(ctx, id)
		if errors.Is(err, storage.ErrNotFound) {
			return false, nil // the login has ended meanwhile
		} else if err != nil {
			return false, fmt.Errorf("recheck: %w", err)
		}
		now := c.cfg.Now()
		switch {
		case !c.due(u):
			return true, nil
		case u.State == storage.UpstreamLost:
			if alive, err = c.lost(ctx, s, u); errors.Is(err, storage.ErrConflict) {
				continue
			}
			return alive, err
		case now.Before(u.RetryAt) && u.State != storage.UpstreamAsking, c.paused(u.Provider, now):
			c.cfg.Count(u.Provider, Unavailable)
			err := c.unasked(u, errBackoff)
			return err == nil, err
		case now.Before(u.RetryAt): // another node asks
			select {
			case <-time.After(glance):
				continue
			case <-waited.C:
				c.cfg.Count(u.Provider, Unavailable)
				err := c.unasked(u, errors.New("another node waits for the provider"))
				return err == nil, err
			case <-ctx.Done():
				return false, ctx.Err()
			}
		}
		alive, err = c.ask(ctx, s, u)
		if !errors.Is(err, storage.ErrConflict) {
			return alive, err
		}
	}
}

// ask asks the provider of a token and writes its answer. The error is [storage.ErrConflict] if another node was faster.
func (c *Checker) ask(ctx context.Context, s session, u storage.UpstreamToken) (alive bool, err error) {
	token, err := c.unseal(u)
	if err != nil {
		return false, err
	}
	// Durable before the question: if this process stops, the record shows that the token may be replaced.
	before := u.State
	u.State, u.RetryAt = storage.UpstreamAsking, c.cfg.Now().Add(c.cfg.Timeout+lease)
	if err := c.update(ctx, &u); err != nil {
		return false, err
	}
	asked := c.cfg.Now()
	upstream, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	next, err := c.cfg.Providers[u.Provider].Refresh(upstream, token)
	cancel()
	switch {
	case err == nil:
		return c.stands(ctx, u, token, next, asked)
	case !errors.Is(err, login.ErrEnded):
		return c.failed(ctx, u, before, err)
	case before == storage.UpstreamKnown:
		c.cfg.Count(u.Provider, Refused)
		return false, c.endLogin(ctx, s, u, audit.UserLoggedOut, audit.ActorProvider, reasonRefused)
	}
	c.cfg.Log.Warn("the OpenID provider refused a refresh token after an earlier answer to it was lost: the login ends with the grace",
		slog.String("provider", u.Provider), slog.String("domain", u.Domain), slog.String("user", u.User))
	u.State, u.Sealed, u.RetryAt = storage.UpstreamLost, nil, time.Time{}
	if err := c.update(ctx, &u); err != nil {
		return false, err
	}
	return c.lost(ctx, s, u)
}

// stands writes that the login stood at a time, with the token to use from now on.
func (c *Checker) stands(ctx context.Context, u storage.UpstreamToken, token, next login.RefreshToken, asked time.Time) (bool, error) {
	if next != token {
		sealed, err := c.seal(u, next)
		if err != nil {
			return false, err
		}
		u.Sealed = sealed
	}
	u.State, u.CheckedAt, u.RetryAt = storage.UpstreamKnown, asked, time.Time{}
	if err := c.update(ctx, &u); err != nil {
		return false, err
	}
	c.cfg.Count(u.Provider, Valid)
	return true, nil
}

// failed writes that a question had no valid answer. Before is the state before it.
func (c *Checker) failed(ctx context.Context, u storage.UpstreamToken, before storage.UpstreamState, cause error) (bool, error) {
	result, now := Invalid, c.cfg.Now()
	if errors.Is(cause, login.ErrUnavailable) {
		result = Unavailable
		c.mu.Lock()
		c.pauses[u.Provider] = now.Add(pause)
		c.mu.Unlock()
	}
	u.State, u.RetryAt = storage.UpstreamUnsure, now.Add(backoff)
	if before == storage.UpstreamKnown && !errors.Is(cause, login.ErrTokenSent) {
		u.State = storage.UpstreamKnown
	}
	err := c.unasked(u, cause)
	c.cfg.Count(u.Provider, result)
	c.cfg.Log.Warn("the OpenID provider could not be asked whether a login stands", slog.String("provider", u.Provider),
		slog.String("domain", u.Domain), slog.String("user", u.User), slog.Bool("grace", err == nil), slog.Any("error", cause))
	if err := c.update(ctx, &u); err != nil {
		return false, err
	}
	return err == nil, err
}

// lost lets the sessions of a login whose token is lost go on for the grace, and then ends them.
func (c *Checker) lost(ctx context.Context, s session, u storage.UpstreamToken) (bool, error) {
	c.cfg.Count(u.Provider, Lost)
	if c.inGrace(u) {
		return true, nil
	}
	return false, c.endLogin(ctx, s, u, audit.SessionEnded, audit.ActorIssuer, reasonLost)
}

// paused reports whether a provider is not asked, because it could not be reached.
func (c *Checker) paused(provider string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return now.Before(c.pauses[provider])
}

// update writes a record and its new number. The error is [storage.ErrConflict] if the record has changed since it was read.
func (c *Checker) update(ctx context.Context, u *storage.UpstreamToken) error {
	err := c.cfg.Store.Update(ctx, func(ctx context.Context, tx storage.Tx) error { return tx.UpdateUpstreamToken(ctx, *u) })
	if err != nil {
		return fmt.Errorf("recheck: %w", err)
	}
	u.Number++
	return nil
}
