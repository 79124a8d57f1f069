package keys

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/imidentity/issuer/storage"
)

// A State is what a signing key is for.
type State string

// The states of a key. It passes through the first three in this order, and into the last one from any of them.
const (
	// Published: verifiers learn it, and it does not sign yet.
	Published State = "published"
	// Signing: everything is signed by it. One key does at a time.
	Signing State = "signing"
	// Retired: it does not sign any more, and checks what it has signed until all of that has expired.
	Retired State = "retired"
	// Revoked: all that it signed is void.
	Revoked State = "revoked"
)

// Info describes a key of a [Ring] to an administrator.
type Info struct {
	KID, Alg string
	State    State
	// CreatedAt is when it was made, Since when it came into its state, and Until when it leaves it: a retired key leaves
	// the key set then, or has left it. Until is zero if that is not known.
	CreatedAt, Since, Until time.Time
	// Reason says why it was revoked.
	Reason string
}

// A state is what the keys are at one time. Nobody changes it.
type state struct {
	keys  []*key    // all, oldest first
	until time.Time // when the clock makes another state of them; zero: never

	public map[string]publicKey // by kid
	kid    string               // of the key that signs
	alg    string
	signer crypto.Signer // nil if there is none
	suffix string        // the header that it signs, after the value of typ

	published []*key // the keys in the key set
	jwks      []byte // the key set
	etag      string
}

type publicKey struct {
	key crypto.PublicKey
	alg string
}

// newState returns the state of keys at now, which follows the state old; life is how long a retired key is published if
// its row does not say so.
func newState(old *state, keys []*key, now time.Time, life time.Duration) *state {
	s := &state{keys: keys, public: make(map[string]publicKey)}
	for _, k := range keys {
		if k.signer == nil {
			continue
		}
		leaves := leaves(k.SigningKey, life)
		s.changes(now, k.ActiveAt, k.RetiredAt, leaves)
		if !leaves.IsZero() && !now.Before(leaves) {
			continue
		}
		s.published = append(s.published, k)
		s.public[k.KID] = publicKey{k.signer.Public(), k.Alg}
	}
	if s.jwks, s.etag = old.jwks, old.etag; s.jwks == nil || !sameKeys(old.published, s.published) {
		s.jwks = mustKeySet(s.published)
		sum := sha256.Sum256(s.jwks)
		s.etag = `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
	}

	if i := signing(rowsOf(keys), now); i >= 0 {
		k := keys[i]
		s.kid, s.alg, s.signer = k.KID, k.Alg, k.signer
		s.suffix = `","alg":"` + k.Alg + `","kid":"` + k.KID + `"}`
	}
	return s
}

// changes notes the moments after now at which the state ends.
func (s *state) changes(now time.Time, moments ...time.Time) {
	for _, t := range moments {
		if t.After(now) && (s.until.IsZero() || t.Before(s.until)) {
			s.until = t
		}
	}
}

func (s *state) find(kid string) *key {
	for _, k := range s.keys {
		if k.KID == kid {
			return k
		}
	}
	return nil
}

func rowsOf(keys []*key) []storage.SigningKey {
	rows := make([]storage.SigningKey, len(keys))
	for i, k := range keys {
		rows[i] = k.SigningKey
	}
	return rows
}

// leaves returns when a key leaves the key set by the clock: when the last that it can have signed has expired. Zero
// for one whose retirement is not set.
func leaves(k storage.SigningKey, life time.Duration) time.Time {
	if k.RetiredAt.IsZero() {
		return time.Time{}
	}
	if k.Life != 0 {
		life = k.Life
	}
	return k.RetiredAt.Add(life)
}

// over tells whether a key can sign neither now nor later.
func over(k storage.SigningKey, now time.Time) bool {
	return !k.RevokedAt.IsZero() || !k.RetiredAt.IsZero() && !k.RetiredAt.After(now)
}

// signing returns the index of the key that signs now, and -1 if none can: the one that became active last. Where the
// clock is behind that of the node which made the first key, none is active, and the earliest one signs.
func signing(rows []storage.SigningKey, now time.Time) int {
	best := -1
	for i, k := range rows {
		if over(k, now) {
			continue
		}
		if best < 0 {
			best = i
			continue
		}
		have := rows[best].ActiveAt
		if k.ActiveAt.After(now) {
			if have.After(now) && k.ActiveAt.Before(have) {
				best = i
			}
		} else if have.After(now) || !k.ActiveAt.Before(have) {
			best = i
		}
	}
	return best
}

// List returns all keys, also those that were revoked, oldest first.
func (r *Ring) List() []Info {
	now := r.cfg.Now()
	s := r.at(now)
	list := make([]Info, 0, len(s.keys))
	for _, k := range s.keys {
		list = append(list, r.describe(k.SigningKey, s.kid, now))
	}
	return list
}

// describe says what a key is at now, when the one that signs is signer.
func (r *Ring) describe(k storage.SigningKey, signer string, now time.Time) Info {
	info := Info{KID: k.KID, Alg: k.Alg, CreatedAt: k.CreatedAt, Reason: k.RevokedReason}
	switch {
	case !k.RevokedAt.IsZero():
		info.State, info.Since = Revoked, k.RevokedAt
	case k.KID == signer:
		info.State, info.Since, info.Until = Signing, k.ActiveAt, k.RetiredAt
		if due := k.ActiveAt.Add(r.cfg.RotateEvery); r.cfg.RotateEvery > 0 && k.RetiredAt.IsZero() && due.After(now) {
			info.Until = due
		}
	case over(k, now):
		info.State, info.Since, info.Until = Retired, k.RetiredAt, leaves(k, r.cfg.LongestLife)
	default:
		info.State, info.Since, info.Until = Published, k.CreatedAt, k.ActiveAt
	}
	return info
}
