package places

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
)

// A Memory is what a verifier has seen of the places of one user, by place. Keep it where no server can change it.
type Memory map[string]Seen

// Seen is the memory about one place.
type Seen struct {
	// Master and Thumbprint are the fingerprint and the thumbprint of the master key that the place named, in a profile of that key.
	Master     string `json:"master"`
	Thumbprint string `json:"thumbprint"`
	Domain     string `json:"domain"`
	// First and Last are when it was first and last seen to do so.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	// Gone is since when it names no master key.
	Gone time.Time `json:"gone,omitzero"`
	// Turned is since when it names another one instead, To its fingerprint.
	Turned time.Time `json:"turned,omitzero"`
	To     string    `json:"to,omitempty"`
	// Dropped is since when the profile does not have the place any more.
	Dropped time.Time `json:"dropped,omitzero"`
}

// lost is when the place ceased to name its master key; zero if it has not.
func (s *Seen) lost() time.Time {
	if s.Gone.IsZero() || !s.Turned.IsZero() && s.Turned.Before(s.Gone) {
		return s.Turned
	}
	return s.Gone
}

// lasted reports whether the place was seen to name its master key for an age.
func (s *Seen) lasted(age time.Duration) bool { return s.Last.Sub(s.First) >= age }

// Memories are those about all users that a verifier has looked at. Use its methods: the im: and the mimi: URI of a user are one key of
// the map.
type Memories map[string]Memory

// Of returns the memory about a user.
func (m Memories) Of(user claims.ID) Memory { return m[accountKey(user)] }

// With returns memories in which a user has a memory. It does not change m.
func (m Memories) With(user claims.ID, one Memory) Memories {
	n := maps.Clone(m)
	if n == nil {
		n = Memories{}
	}
	if len(one) == 0 {
		delete(n, accountKey(user))
	} else {
		n[accountKey(user)] = one
	}
	return n
}

// Without returns memories without a user: after the verifier has asked the user by another way why the places changed.
func (m Memories) Without(user claims.ID) Memories { return m.With(user, nil) }

// ParseMemories parses memories from their JSON. It refuses what [Verify] would not have made.
func ParseMemories(data []byte) (Memories, error) {
	if err := jose.Object(data, func(string, []byte) error { return nil }); err != nil { // no member twice
		return nil, fmt.Errorf("places: memories: %w", err)
	}
	var m Memories
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return nil, fmt.Errorf("places: memories: %w", err)
	}
	for user, one := range m {
		if len(one) > MaxMemory {
			return nil, fmt.Errorf("places: memories: more than %d places of %q", MaxMemory, user)
		}
		for key, s := range one {
			p, err := ParsePlace(key)
			switch {
			case err != nil || p.same() != key || p.Domain != s.Domain:
				return nil, fmt.Errorf("places: memories: %q of %q is not a place", key, user)
			case !isFingerprint(s.Master), !jose.IsThumbprint(s.Thumbprint),
				s.To != "" && !isFingerprint(s.To), s.Turned.IsZero() != (s.To == ""):
				return nil, fmt.Errorf("places: memories: %q of %q names no master key", key, user)
			case s.First.IsZero(), s.Last.Before(s.First):
				return nil, fmt.Errorf("places: memories: %q of %q has no first or last time", key, user)
			}
		}
	}
	return m, nil
}

// succeed makes the places of former master keys, by their thumbprints, those of their successor. They keep their ages.
func (m Memory) succeed(former []string, fingerprint, thumbprint string) {
	for key, s := range m {
		if s.Thumbprint == thumbprint || !slices.Contains(former, s.Thumbprint) {
			continue
		}
		s.Master, s.Thumbprint = fingerprint, thumbprint
		if s.To == fingerprint {
			s.Turned, s.To = time.Time{}, ""
		}
		m[key] = s
	}
}

// add adds a place. If there is no room, the place that was dropped first makes it; without any, the new place is not kept, and does not
// get older: what a verifier remembers is not pushed out by new places.
func (m Memory) add(key string, s Seen) bool {
	if len(m) >= MaxMemory {
		oldest := ""
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if at := m[k].Dropped; !at.IsZero() && (oldest == "" || at.Before(m[oldest].Dropped)) {
				oldest = k
			}
		}
		if oldest == "" {
			return false
		}
		delete(m, oldest)
	}
	m[key] = s
	return true
}
