package signin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/imidentity/issuer/internal/random"
	"github.com/imidentity/issuer/login"
	"github.com/imidentity/issuer/storage"
)

var (
	errOver      = errors.New("signin: the login is over, or there never was one")
	errElsewhere = errors.New("signin: the login was started in another browser")
)

// progress is how far a login has come. The row of storage has it in [storage.Login.Person].
type progress struct {
	Step step `json:"step"`
	// Identity is the user at the OpenID provider, once it is known.
	Identity login.Identity `json:"identity,omitzero"`
	// Upstream is the upstream token of the login, sealed, once it is known; nil if it has none.
	Upstream *storage.UpstreamToken `json:"upstream,omitempty"`
	// User is the user's id, once it is known.
	User string `json:"user,omitempty"`
	// Answer is the sealed answer to a form.
	Answer []byte `json:"answer,omitempty"`
}

func encode(p progress) ([]byte, error) {
	if p.Step == stepProvider {
		return nil, nil
	}
	text, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("signin: store a login: %w", err)
	}
	return text, nil
}

func decode(l storage.Login) (p progress, err error) {
	if l.Person == nil {
		return progress{Step: stepProvider}, nil
	}
	if err := json.Unmarshal(l.Person, &p); err != nil {
		return progress{}, fmt.Errorf("signin: read a stored login: %w", err)
	}
	return p, nil
}

// A visit is one input, and the pending login that it belongs to.
type visit struct {
	State
	row      storage.Login // as it is stored
	progress progress
	identity login.Identity // of the user, once the provider has identified them
	upstream *storage.UpstreamToken
	place    place // that of the row in the quota

	decision string // the text of a form, if that is a decision
	decides  bool   // the form counts once

	facts   Facts
	cause   error // of a refusal, for the log
	cookies []Cookie
	session string // of the browser, if the login made one
}

func (v *visit) answer() Answer {
	return Answer{Cookies: v.cookies, Session: v.session, Facts: v.facts}
}

func (v *visit) redirect(location string) Outcome { return Redirect{v.answer(), location} }

func (v *visit) page(r Reason, err error) Outcome { return Page{v.answer(), r, err} }

func (v *visit) cookie(token, value string, life time.Duration) {
	v.cookies = append(v.cookies, Cookie{token, value, life})
}

// find reads the row of a visit. Without one, the error is errOver.
func (s *Logins) find(ctx context.Context, v *visit) (err error) {
	v.row, err = s.store.Login(ctx, sha256.Sum256([]byte(v.Token)))
	if errors.Is(err, storage.ErrNotFound) {
		return errOver
	} else if err != nil {
		return err
	}
	if v.progress, err = decode(v.row); err != nil {
		return err
	}
	v.identity, v.upstream = v.progress.Identity, v.progress.Upstream
	v.facts = Facts{Request: v.row.Request, Provider: v.row.Provider, Domain: v.row.Domain, User: v.progress.User}
	return nil
}

// check holds a visit to its row: it comes from the same browser, in time. Otherwise the error is errElsewhere or errOver.
func (s *Logins) check(v *visit) error {
	if !sameBrowser(v.State, v.row) {
		return errElsewhere
	}
	if !s.now().Before(v.row.ExpiresAt) {
		return errOver
	}
	v.facts.Bound = true
	if p, ok := s.quota.place(v.row.State); ok {
		v.place = p
	}
	return nil
}

func sameBrowser(at State, l storage.Login) bool {
	got := sha256.Sum256([]byte(at.Browser))
	return at.Browser != "" && subtle.ConstantTimeCompare(got[:], l.Browser[:]) == 1
}

// A pendingLogin is a row that is not stored yet, with the state and the cookie that it has hashes of.
type pendingLogin struct {
	token, browser string
	row            storage.Login
}

// newPending makes the row of a step, from what l says of the login. An empty token means a random one.
func (s *Logins) newPending(token string, l storage.Login, at progress) (p pendingLogin, err error) {
	if token == "" {
		if token, err = s.random(); err != nil {
			return p, err
		}
	}
	p = pendingLogin{token: token, row: l}
	if p.browser, err = s.random(); err != nil {
		return p, err
	}
	if p.row.Person, err = encode(at); err != nil {
		return p, err
	}
	p.row.State, p.row.Browser = sha256.Sum256([]byte(p.token)), sha256.Sum256([]byte(p.browser))
	p.row.CreatedAt = s.now()
	p.row.ExpiresAt = p.row.CreatedAt.Add(s.life)
	return p, nil
}

// start stores the first step of a login, if the quota has room for it, and binds it to the browser.
func (s *Logins) start(ctx context.Context, v *visit, p pendingLogin) error {
	at := placeOf(v.From)
	if client, ok := s.oauth.Client(p.row.Request.Get("client_id")); ok && !client.Public() && p.row.Request.Has("request_uri") {
		at.trusted = true // the client authenticated when it pushed the request
	}
	err := s.quota.admit(p.row.State, at, p.row.ExpiresAt, func() error {
		return s.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error { return tx.InsertLogin(ctx, p.row) })
	})
	if err != nil {
		return err
	}
	v.cookie(p.token, p.browser, s.life)
	return nil
}

// removeRow removes the row of a step. Of two transactions that try, one gets errOver.
func removeRow(ctx context.Context, tx storage.Tx, l storage.Login) error {
	_, err := tx.TakeLogin(ctx, l.State)
	if errors.Is(err, storage.ErrNotFound) {
		return errOver
	}
	return err
}

// CookieTag returns the part of a cookie's name that tells for which state it is. Logins in several tabs have different
// cookies, and the name does not reveal the state.
func CookieTag(token string) string {
	sum := sha256.Sum256([]byte("login cookie " + token))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// random returns 256 random bits in base64url.
func (s *Logins) random() (string, error) {
	text, err := random.Text(s.rand, 32)
	if err != nil {
		return "", fmt.Errorf("signin: %w", err)
	}
	return text, nil
}
