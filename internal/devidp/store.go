package devidp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	tokenLife   = 5 * time.Minute
	requestLife = 10 * time.Minute
)

var errUnknown = errors.New("unknown or expired")

// store implements [op.Storage] for the code flow with ID token and userinfo. The other methods refuse.
type store struct {
	key     signingKey
	clients map[string]Client
	people  map[string]Person // by user name

	mu       sync.Mutex
	requests map[string]request // by id
	codes    map[string]string  // code to request id
	tokens   map[string]request // by access token id: the request that it was made for
}

func newStore(cfg Config) (*store, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("devidp: %w", err)
	}
	s := &store{
		key:      signingKey{id: rand.Text(), private: key},
		clients:  make(map[string]Client),
		people:   make(map[string]Person),
		requests: make(map[string]request),
		codes:    make(map[string]string),
		tokens:   make(map[string]request),
	}
	for _, c := range cfg.Clients {
		s.clients[c.ID] = c
	}
	for _, p := range cfg.People {
		s.people[p.Username] = p
	}
	return s, nil
}

// login records that p has answered the request id.
func (s *store) login(id string, p Person) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.requests[id]
	if !ok || time.Now().After(r.expires) {
		return errUnknown
	}
	r.person, r.sid, r.authTime = p, rand.Text(), time.Now()
	s.requests[id] = r
	return nil
}

func (s *store) CreateAuthRequest(_ context.Context, in *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	for _, prompt := range in.Prompt {
		if prompt == oidc.PromptNone { // there are no sessions here, so a login is always required
			return nil, oidc.ErrLoginRequired()
		}
	}
	r := request{id: rand.Text(), in: in, expires: time.Now().Add(requestLife)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropExpired()
	s.requests[r.id] = r
	return r, nil
}

// dropExpired forgets expired requests and tokens. The caller holds mu.
func (s *store) dropExpired() {
	now := time.Now()
	for id, r := range s.requests {
		if now.After(r.expires) {
			delete(s.requests, id)
		}
	}
	for id, r := range s.tokens {
		if now.After(r.expires) {
			delete(s.tokens, id)
		}
	}
	for code, id := range s.codes {
		if _, ok := s.requests[id]; !ok {
			delete(s.codes, code)
		}
	}
}

func (s *store) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.requests[id]
	if !ok || time.Now().After(r.expires) {
		return nil, errUnknown
	}
	return r, nil
}

// AuthRequestByCode returns the request of a code and spends the code.
func (s *store) AuthRequestByCode(ctx context.Context, code string) (op.AuthRequest, error) {
	s.mu.Lock()
	id, ok := s.codes[code]
	delete(s.codes, code)
	s.mu.Unlock()
	if !ok {
		return nil, errUnknown
	}
	return s.AuthRequestByID(ctx, id)
}

func (s *store) SaveAuthCode(_ context.Context, id, code string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.codes[code] = id
	return nil
}

func (s *store) DeleteAuthRequest(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.requests, id)
	return nil
}

func (s *store) CreateAccessToken(_ context.Context, in op.TokenRequest) (string, time.Time, error) {
	r, ok := in.(request)
	if !ok {
		return "", time.Time{}, oidc.ErrUnsupportedGrantType()
	}
	r.expires = time.Now().Add(tokenLife)
	id := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[id] = r
	return id, r.expires, nil
}

func (s *store) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	c, ok := s.clients[id]
	if !ok {
		return nil, errUnknown
	}
	return client{c}, nil
}

func (s *store) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	c, ok := s.clients[id]
	if !ok || c.Secret == "" || subtle.ConstantTimeCompare([]byte(c.Secret), []byte(secret)) != 1 {
		return errUnknown
	}
	return nil
}

// SetUserinfoFromRequest fills in the claims of the ID token.
func (s *store) SetUserinfoFromRequest(_ context.Context, info *oidc.UserInfo, in op.IDTokenRequest, _ []string) error {
	r, ok := in.(request)
	if !ok {
		return oidc.ErrUnsupportedGrantType()
	}
	r.describe(info)
	info.AppendClaims("sid", r.sid)
	return nil
}

// SetUserinfoFromToken fills in the answer of the userinfo endpoint.
func (s *store) SetUserinfoFromToken(_ context.Context, info *oidc.UserInfo, tokenID, _, _ string) error {
	s.mu.Lock()
	r, ok := s.tokens[tokenID]
	s.mu.Unlock()
	if !ok || time.Now().After(r.expires) {
		return errUnknown
	}
	r.describe(info)
	return nil
}

func (s *store) SigningKey(context.Context) (op.SigningKey, error) { return s.key, nil }

func (s *store) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{s.key.SignatureAlgorithm()}, nil
}

func (s *store) KeySet(context.Context) ([]op.Key, error) { return []op.Key{publicKey{s.key}}, nil }

func (s *store) Health(context.Context) error { return nil }
