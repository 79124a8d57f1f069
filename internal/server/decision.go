package server

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
)

// A decision is a form of a login page that the person has sent. It counts once. But people click twice, and of two
// requests the browser shows the answer to the second: so the same browser gets the same answer to the same decision
// again, while the code in it lives. Another decision, or another browser, gets nothing.
//
// The answer is stored in a row of its own, which the transaction that ends the step adds. It may hold a code, so it is
// sealed under a key made of the state, of which the database has no more than a hash.
type decision struct {
	state string
	made  string // what the form says
	login storage.Login
}

// settled is the answer to a decision.
type settled struct {
	Made     string `json:"made"`
	Location string `json:"location"`
	// State and Browser are those of the next page, if the answer leads to one: its cookie is set again.
	State   string `json:"state,omitempty"`
	Browser string `json:"browser,omitempty"`
}

// consentPage is the URL of the page that asks for consent.
func (s *Server) consentPage(state string) string {
	return s.Issuer + "/login/consent?" + url.Values{"state": {state}}.Encode()
}

// settle is part of the transaction that answers a decision: the step ends, and the answer is stored. Of two that try, one
// gets [errGone]. Without a decision it does nothing; an answer without a location is not stored.
func (s *Server) settle(ctx context.Context, tx storage.Tx, d *decision, a settled) error {
	if d == nil {
		return nil
	}
	if err := takeLogin(ctx, tx, d.login); err != nil || a.Location == "" {
		return err
	}
	a.Made = d.made
	sealed, err := s.seal(d.state, a)
	if err != nil {
		return err
	}
	person, err := json.Marshal(waiting{Step: stepAnswered, Answer: sealed})
	if err != nil {
		return fmt.Errorf("server: keep an answer: %w", err)
	}
	now := s.Now()
	return tx.InsertLogin(ctx, storage.Login{
		State: answerKey(d.state), Browser: d.login.Browser, Domain: d.login.Domain, Provider: d.login.Provider,
		Request: url.Values{}, Person: person, CreatedAt: now, ExpiresAt: now.Add(s.OAuth.CodeLife()),
	})
}

// markSettled is what remains to do when settle is durable. The cookie stays for as long as the answer can be had again.
func (s *Server) markSettled(c echo.Context, d *decision) {
	if d == nil {
		return
	}
	s.quota.free(d.login.State)
	life := s.OAuth.CodeLife()
	if d.login.Provider == "" { // nobody has signed in: the answer takes the place of the login
		_ = s.quota.keep(answerKey(d.state), s.place(c), s.Now().Add(life), func() error { return nil })
	}
	if cookie, err := c.Cookie(s.cookie(d.state, "", 0).Name); err == nil {
		http.SetCookie(c.Response(), s.cookie(d.state, cookie.Value, life))
	}
}

// settleRefused ends a step by a refusal that the app is told; any other error is returned as it is.
func (s *Server) settleRefused(c echo.Context, d *decision, answer error) error {
	var refused *oauth.AuthorizeError
	if d == nil || !errors.As(answer, &refused) {
		return nil
	}
	err := s.Store.Update(c.Request().Context(), func(ctx context.Context, tx storage.Tx) error {
		return s.settle(ctx, tx, d, settled{Location: refused.Location})
	})
	if err == nil {
		s.markSettled(c, d)
	}
	return err
}

// again answers a decision that was made before, or says that the login is over.
func (s *Server) again(c echo.Context, state, made string) error {
	l, err := s.Store.Login(c.Request().Context(), answerKey(state))
	if errors.Is(err, storage.ErrNotFound) {
		return s.notWaiting(c, errGone)
	} else if err != nil {
		return err
	}
	var w waiting
	if err := json.Unmarshal(l.Person, &w); err != nil {
		return fmt.Errorf("server: read a kept answer: %w", err)
	}
	switch {
	case !s.sameBrowser(c, state, l):
		return s.notWaiting(c, errElsewhere)
	case w.Step != stepAnswered, !s.Now().Before(l.ExpiresAt):
		return s.notWaiting(c, errGone)
	}
	a, err := unseal(state, w.Answer)
	if err != nil {
		return err
	}
	if a.Made != made {
		return s.notWaiting(c, errGone)
	}
	if a.State != "" {
		http.SetCookie(c.Response(), s.cookie(a.State, a.Browser, s.LoginTime))
	}
	return c.Redirect(http.StatusSeeOther, a.Location)
}

// answerKey is the state of the row that holds the answer to a page.
func answerKey(state string) [32]byte { return sha256.Sum256([]byte("login answer " + state)) }

// answerCipher seals what is kept of an answer, under a key that only the browser has.
func answerCipher(state string) (cipher.AEAD, error) {
	key := sha256.Sum256([]byte("login answer key " + state))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func (s *Server) seal(state string, a settled) ([]byte, error) {
	text, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("server: seal an answer: %w", err)
	}
	aead, err := answerCipher(state)
	if err != nil {
		return nil, fmt.Errorf("server: seal an answer: %w", err)
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(text)+aead.Overhead())
	if _, err := io.ReadFull(s.Rand, nonce); err != nil {
		return nil, fmt.Errorf("server: read random bits: %w", err)
	}
	return aead.Seal(nonce, nonce, text, nil), nil
}

func unseal(state string, sealed []byte) (a settled, err error) {
	aead, err := answerCipher(state)
	if err == nil && len(sealed) < aead.NonceSize() {
		err = errors.New("too short")
	}
	if err == nil {
		var text []byte
		if text, err = aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], nil); err == nil {
			err = json.Unmarshal(text, &a)
		}
	}
	if err != nil {
		return a, fmt.Errorf("server: open a kept answer: %w", err)
	}
	return a, nil
}
