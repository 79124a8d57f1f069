package trust

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/internal/jose"
)

const (
	// forceEvery is how often a kid that is not known makes the keys be fetched again while they are fresh: whoever can
	// send tokens can make up kids.
	forceEvery = time.Minute
	// retryAfter is how long an issuer that did not answer is left alone.
	retryAfter = 10 * time.Second
	// maxBody bounds an answer, also by a client that has no limit.
	maxBody = 256 << 10
)

// published are the keys that an issuer publishes, as they were when it was last asked.
type published struct {
	issuer          string
	at              *url.URL
	client, foreign *http.Client
	fresh, stale    time.Duration
	now             func() time.Time

	mu      sync.Mutex
	keys    map[string]publicKey
	fetched time.Time     // when keys were
	forced  time.Time     // when an unknown kid last made them be fetched
	failed  time.Time     // when the issuer last did not answer
	cause   error         // why
	flight  chan struct{} // closed at the end of the fetch that is under way; nil: none is
}

// key returns a key from what is known, asking the issuer if that is too old or if it lacks the kid.
func (p *published) key(ctx context.Context, kid string) (publicKey, error) {
	for asked := false; ; asked = true {
		p.mu.Lock()
		now := p.now()
		age := now.Sub(p.fetched)
		k, found := p.keys[kid]
		isFresh := p.keys != nil && age < p.fresh
		switch {
		case found && isFresh:
			p.mu.Unlock()
			return k, nil
		case asked || now.Sub(p.failed) < retryAfter:
			// The issuer has been asked, or is not to be. What was fetched before the outage is good for a while.
			cause := p.cause
			p.mu.Unlock()
			switch {
			case found && age < p.stale:
				return k, nil
			case asked && cause == nil:
				return publicKey{}, ErrUnknownKey
			}
			return publicKey{}, unavailable(cause)
		case isFresh && p.flight == nil && now.Sub(p.forced) < forceEvery:
			p.mu.Unlock()
			return publicKey{}, unavailable(errors.New("asked for an unknown key less than a minute ago"))
		}
		if p.flight == nil {
			if isFresh {
				p.forced = now
			}
			p.flight = make(chan struct{})
			// Others wait for the same answer: it does not end with the one who asked first.
			go p.refresh(context.WithoutCancel(ctx), p.flight)
		}
		flight := p.flight
		p.mu.Unlock()
		select {
		case <-flight:
		case <-ctx.Done():
			return publicKey{}, fmt.Errorf("trust: %w", ctx.Err())
		}
	}
}

func unavailable(cause error) error { return fmt.Errorf("%w: %v", ErrUnavailable, cause) }

// refresh fetches the keys and ends the flight. When it fails, what was known stays.
func (p *published) refresh(ctx context.Context, flight chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	keys, err := p.fetch(ctx)

	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.failed, p.cause = p.now(), err
	} else {
		p.keys, p.fetched = keys, p.now()
		p.failed, p.cause = time.Time{}, nil
	}
	p.flight = nil
	close(flight)
}

// fetch reads the issuer's metadata and the key set that it points to.
func (p *published) fetch(ctx context.Context) (map[string]publicKey, error) {
	// RFC 8414 §3.1: the well-known part comes before the path.
	at := *p.at
	at.Path, at.RawPath = "/.well-known/oauth-authorization-server"+strings.TrimSuffix(p.at.Path, "/"), ""
	metadata, err := get(ctx, p.client, &at)
	if err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	var issuer, jwks string
	err = jose.Object(metadata, func(name string, value []byte) (err error) {
		switch name {
		case "issuer":
			issuer, err = jose.String(value)
		case "jwks_uri":
			jwks, err = jose.String(value)
		}
		return err
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("metadata: %w", err)
	case issuer != p.issuer: // RFC 8414 §3.3
		return nil, errors.New("metadata: of another issuer")
	}
	set, err := url.Parse(jwks)
	if err != nil || jwks == "" {
		return nil, errors.New("metadata: no jwks_uri")
	}
	client := p.foreign
	if set.Scheme == p.at.Scheme && set.Host == p.at.Host {
		client = p.client // The operator wrote this host down.
	}
	data, err := get(ctx, client, set)
	if err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	return parseJWKS(data)
}

func get(ctx context.Context, client *http.Client, u *url.URL) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered %d", resp.StatusCode)
	}
	if err := fetch.CheckType(resp, "application/json", "application/jwk-set+json"); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err == nil && len(body) > maxBody {
		err = errors.New("too long")
	}
	return body, err
}
