package signin

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"github.com/imidentity/issuer/storage"
)

// A storedAnswer is the answer to a form that counts once. People click twice, and of two requests the browser shows the answer
// to the second; so the same browser gets the same answer to the same form again, for as long as a code lives. Another text in
// the form, or another browser, gets no answer.
//
// The answer is a row of its own, which the transaction that ends the step stores. It may contain a code, so it is sealed
// under a key derived from the state, of which storage has a hash only.
type storedAnswer struct {
	Decision string `json:"made"`
	Location string `json:"location"`
	// State and Browser are those of the next page, if the answer leads to one: its cookie is set again.
	State   string `json:"state,omitempty"`
	Browser string `json:"browser,omitempty"`
	// Session is the secret of the session of the browser, if the answer began one.
	Session string `json:"session,omitempty"`
}

// answerRow makes the row that stores the answer to the form of a visit.
func (s *Logins) answerRow(v *visit, e ending) (*storage.Login, error) {
	a := storedAnswer{Decision: v.decision, Location: e.location, Session: e.session}
	if e.next != nil {
		a.State, a.Browser = e.next.token, e.next.browser
	}
	sealed, err := s.seal(v.Token, a)
	if err != nil {
		return nil, err
	}
	person, err := encode(progress{Step: stepAnswered, Answer: sealed})
	if err != nil {
		return nil, err
	}
	now := s.now()
	return &storage.Login{
		State: answerKey(v.Token), Browser: v.row.Browser, Domain: v.row.Domain, Provider: v.row.Provider,
		Request: url.Values{}, Person: person, CreatedAt: now, ExpiresAt: now.Add(s.oauth.CodeLife()),
	}, nil
}

// repeat gives the stored answer to a form that was sent before; errOver if there is none.
func (s *Logins) repeat(ctx context.Context, v *visit) (Outcome, error) {
	l, err := s.store.Login(ctx, answerKey(v.Token))
	if errors.Is(err, storage.ErrNotFound) {
		return nil, errOver
	} else if err != nil {
		return nil, err
	}
	h, err := decode(l)
	switch {
	case err != nil:
		return nil, err
	case !sameBrowser(v.State, l):
		return nil, errElsewhere
	case h.Step != stepAnswered, !s.now().Before(l.ExpiresAt):
		return nil, errOver
	}
	a, err := unseal(v.Token, h.Answer)
	if err != nil {
		return nil, err
	}
	if a.Decision != v.decision {
		return nil, errOver
	}
	v.cookies, v.session = nil, a.Session
	if a.State != "" {
		v.cookie(a.State, a.Browser, s.life)
	}
	return v.redirect(a.Location), nil
}

// answerKey is the key of the row with the answer to the form of a state.
func answerKey(token string) [32]byte { return sha256.Sum256([]byte("login answer " + token)) }

// answerSeal is the key under which an answer is sealed; only the browser has what it is derived from.
func answerSeal(token string) [32]byte { return sha256.Sum256([]byte("login answer key " + token)) }

func (s *Logins) seal(token string, a storedAnswer) ([]byte, error) {
	text, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("signin: seal an answer: %w", err)
	}
	return sealText(s.rand, answerSeal(token), text, nil)
}

func unseal(token string, raw []byte) (a storedAnswer, err error) {
	text, err := openText(answerSeal(token), raw, nil)
	if err == nil {
		err = json.Unmarshal(text, &a)
	}
	if err != nil {
		return a, fmt.Errorf("signin: open a stored answer: %w", err)
	}
	return a, nil
}
