package faults_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"strings"
	"sync"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
)

// An end is what is known about the end of a session, a device or an access token.
type end struct {
	mu    sync.Mutex
	asked time.Time // before the first request to end it was sent; the zero time if none was
	known time.Time // when that was acknowledged
	by    string    // the node that acknowledged the first request; "" if it was repeated
}

func (e *end) ask() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.asked.IsZero() {
		e.asked = time.Now()
	}
}

func (e *end) acknowledge(node string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.known.IsZero() {
		e.known, e.by = time.Now(), node
	}
}

func (e *end) read() (asked, known time.Time, by string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.asked, e.known, e.by
}

// A device is a key with which a user logs in.
type device struct {
	signer *dpop.Signer
	id     string // "" before the first login
	end    end
}

func newDevice() *device {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	signer, err := dpop.NewSigner(key, "")
	if err != nil {
		panic(err)
	}
	return &device{signer: signer}
}

// A session is one login.
type session struct {
	device  *device
	sid     string
	refresh []string // its refresh tokens, oldest first
	access  []*access
	end     end
}

// An access is an access token.
type access struct {
	token   string
	session *session
	end     end
}

// newest returns the refresh token to use.
func (s *session) newest() string { return s.refresh[len(s.refresh)-1] }

// limit is how old the memory of a node may be in which it looks for revocations.
const limit = 2 * time.Second

// mayBeOver reports whether a request to end a session was sent before t.
func (s *session) mayBeOver(t time.Time) bool { return isAsked(t, &s.end, &s.device.end) }

// isOver reports whether the end of a session was acknowledged before t.
func (s *session) isOver(t time.Time) bool { return isKnown(t, 0, "", &s.end, &s.device.end) }

// mayBeOver reports whether a request to end an access token was sent before t.
func (a *access) mayBeOver(t time.Time) bool {
	return isAsked(t, &a.end, &a.session.end, &a.session.device.end)
}

// isOver reports whether every node must know at t, or a node must, that an access token has ended.
func (a *access) isOver(t time.Time, node string) bool {
	return isKnown(t, limit, node, &a.end, &a.session.end, &a.session.device.end)
}

func isAsked(t time.Time, ends ...*end) bool {
	for _, e := range ends {
		if asked, _, _ := e.read(); !asked.IsZero() && asked.Before(t) {
			return true
		}
	}
	return false
}

func isKnown(t time.Time, after time.Duration, node string, ends ...*end) bool {
	for _, e := range ends {
		_, known, by := e.read()
		if !known.IsZero() && (known.Add(after).Before(t) || by != "" && by == node && known.Before(t)) {
			return true
		}
	}
	return false
}

// maxAccess is how many access tokens of a session are remembered.
const maxAccess = 4

// took notes the tokens of an answer. It returns false if they are not those that the session must get for the refresh token number i,
// -1 for a code.
func (s *session) took(i int, refresh, token string) bool {
	if i+1 < len(s.refresh) {
		if s.refresh[i+1] != refresh {
			return false
		}
	} else {
		s.refresh = append(s.refresh, refresh)
	}
	if s.access = append(s.access, &access{token: token, session: s}); len(s.access) > maxAccess {
		s.access = s.access[1:]
	}
	return true
}

// readToken returns the claims of an access token.
func readToken(token string) (claims.Set, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return claims.Set{}, dpop.ErrInvalidProof
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return claims.Set{}, err
	}
	return claims.ParseSet(payload)
}
