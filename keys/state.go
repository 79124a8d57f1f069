package keys

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/imidentity/issuer/storage"
)

// A State is the stage of a signing key's life.
type State string

// The states of a key. A key passes through the first three in this order, and from any of them into the last.
const (
	// Published: the key is in the key set, so that verifiers learn it, and does not sign yet.
	Published State = "published"
	// Signing: the key signs everything. There is one such key at a time.
	Signing State = "signing"
	// Retired: the key no longer signs. It stays in the key set until everything that it signed has expired.
	Retired State = "retired"
	// Revoked: everything that the key signed is invalid.
	Revoked State = "revoked"
)

// Info describes a key of a [Ring] to an administrator.
type Info struct {
	KID, Alg string
	State    State
	// CreatedAt is when the key was made, Since when it entered its state, and Until when it leaves it: a retired key leaves the
	// key set then, or has left it. Until is zero if it is not known.
	CreatedAt, Since, Until time.Time
	// Reason says why the key was revoked.
	Reason string
}

// A state is the immutable view of the keys at one time.
type state struct {
	keys  []*key    // all, oldest first
	until time.Time // when the next state begins by the clock; zero: never

	public map[string]publicKey // by kid
	kid    string               // of the signing key
	alg    string
	signer crypto.Signer // nil if there is none
	suffix string        // the rest of its header after the value of typ

	published []*key // the keys in the key set
	jwks      []byte // the key set
	etag      string
}

type publicKey struct {
	key crypto.PublicKey
	alg string
}

// newState returns the state of keys at now, which follows the state old. A retired key is published for life, unless its row has
// a life of its own.
func newState(old *state, keys []*key, now time.Time, life time.Duration) *state {
	s := &state{keys: keys, public: make(map[string]publicKey)}
	for _, k := range keys {
		if k.signer == nil {
			continue
		}
		leaves := publishedUntil(k.SigningKey, life)
		s.endsAt(now, k.ActiveAt, k.RetiredAt, leaves)
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

	if i := signerOf(rowsOf(keys), now); i >= 0 {
		k := keys[i]
		s.kid, s.alg, s.signer = k.KID, k.Alg, k.signer
		s.suffix = `","alg":"` + k.Alg + `","kid":"` + k.KID + `"}`
	}
	return s
}

// endsAt sets the end of the state to the first of the moments after now.
func (s *state) endsAt(now time.Time, moments ...time.Time) {
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

// publishedUntil returns when a key leaves the key set: when everything that it can have signed has expired. It is zero for a key
// without a time of retirement.
func publishedUntil(k storage.SigningKey, life time.Duration) time.Time {
	if k.RetiredAt.IsZero() {
		return time.Time{}
	}
	if k.Life != 0 {
		life = k.Life
	}
	return k.RetiredAt.Add(life)
}

// ended reports whether a key can sign neither now nor later.
func ended(k storage.SigningKey, now time.Time) bool {
	return !k.RevokedAt.IsZero() || !k.RetiredAt.IsZero() && !k.RetiredAt.After(now)
}

// signerOf returns the index of the key that signs at now, the key that became active last, and -1 if no key can sign. If no key
// is active, because the clock is behind that of the node which made the first key, the key that becomes active first signs.
func signerOf(rows []storage.SigningKey, now time.Time) int {
	best := -1
	for i, k := range rows {
		if ended(k, now) {
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

// List returns all keys, including revoked ones, oldest first.
func (r *Ring) List() []Info {
	now := r.cfg.Now()
	s := r.at(now)
	list := make([]Info, 0, len(s.keys))
	for _, k := range s.keys {
		list = append(list, r.describe(k.SigningKey, s.kid, now))
	}
	return list
}

// describe describes a key at now; signer is the kid of the key that signs then.
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
	case ended(k, now):
		info.State, info.Since, info.Until = Retired, k.RetiredAt, publishedUntil(k, r.cfg.LongestLife)
	default:
		info.State, info.Since, info.Until = Published, k.CreatedAt, k.ActiveAt
	}
	return info
}
