package revocation

import (
	"crypto/rand"
	"crypto/sha256"
	"math"
	"time"

	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/storage"
)

// A table holds rows compactly: some 90 bytes each, without pointers, so that the garbage collector does not read them.
// Methods other than keysOf need the lock of the mirror.
type table struct {
	seed [16]byte
	rows map[key]row
	// kinds counts the rows of each kind, by the index in the list of kinds: a kind without rows needs no look-up.
	kinds [8]int
	// reasons are the reasons of all rows so far, each once, and first those that [ReasonOf] tells apart. There are few: most
	// are words of the program.
	reasons []string
	// ends are the keys of the rows by the time at which they expire, in steps of endStep. Each is a list of blocks, so that
	// growing one copies nothing. A key may be there more than once; its row says when it really expires.
	ends map[int64][][]key
	next int64 // no list in ends is of an earlier time

	changes uint64 // counts the rows that were added or replaced
}

// A key stands for the kind and the key of a revocation: 128 bits of a SHA-256 over a random seed and both.
//
// Another id that had the same key would be revoked with it. Nobody can search for one, since the seed never leaves the
// process. By chance, with a million rows, a single one of 10^15 look-ups meets such an id with a probability of 3 in 10^18.
// A revocation is not missed: equal ids have equal keys, and two rows that had one key would end the tokens of both.
type key [16]byte

// A row is a revocation.
type row struct {
	seq     int64
	gen     int64
	expires uint32 // seconds since 1970, rounded up; never for none
	reason  uint16 // index in reasons
	kind    uint8  // index in the list of kinds
}

// never is the expiry of a row that does not expire.
const never = math.MaxUint32

// kinds are the kinds of revocations, the widest first: in this order tokens are looked up. A kind that is not among them
// has index 0, and no token matches it.
var kinds = [...]storage.RevocationKind{
	"", storage.RevokeKey, storage.RevokeClient, storage.RevokeUser, storage.RevokeDevice, storage.RevokeGrant, storage.RevokeToken,
	storage.RevokeGen,
}

// The indexes in kinds.
const (
	kindKey = iota + 1
	kindClient
	kindUser
	kindDevice
	kindGrant
	kindToken
	kindGen
)

func kindOf(k storage.RevocationKind) uint8 {
	for i, name := range kinds {
		if name == k {
			return uint8(i)
		}
	}
	return 0
}

func newTable() table {
	t := table{rows: make(map[key]row), ends: make(map[int64][][]key), next: math.MaxInt64}
	t.reasons = []string{"", string(introspect.DeviceRemoved), string(introspect.UserDisabled), string(introspect.HandleChanged)}
	rand.Read(t.seed[:]) // it never fails
	return t
}

// keyOf returns the key of an id within a domain, which is empty for kinds that have none. A row writes both as "domain/id".
func (t *table) keyOf(kind uint8, domain, id string) key {
	var buffer [256]byte // enough for nearly all ids: no allocation
	b := append(append(buffer[:0], t.seed[:]...), kind)
	if domain != "" {
		b = append(append(b, domain...), '/')
	}
	sum := sha256.Sum256(append(b, id...))
	return key(sum[:])
}

// keysOf returns the keys of rows. It needs no lock.
func (t *table) keysOf(rows []storage.Revocation) []key {
	list := make([]key, len(rows))
	for i, r := range rows {
		list[i] = t.keyOf(kindOf(r.Kind), "", r.Key)
	}
	return list
}

// apply adds rows, whose keys are given. Of two rows of one key that with the higher number counts: the other was replaced
// by it, and it ends at least as much.
func (t *table) apply(keys []key, rows []storage.Revocation) {
	for i, r := range rows {
		k := keys[i]
		have, ok := t.rows[k]
		if ok && have.seq >= r.Seq && !widens(have, r) {
			continue
		}
		v := row{seq: r.Seq, gen: r.Gen, expires: never, reason: t.reasonOf(r.Reason), kind: kindOf(r.Kind)}
		if ok { // after a failover a row may come from before one that was lost
			v.seq, v.gen = max(v.seq, have.seq), max(v.gen, have.gen)
		}
		if !r.ExpiresAt.IsZero() {
			v.expires = uint32(min(max(r.ExpiresAt.Add(time.Second-1).Unix(), 0), never-1))
			t.ending(k, v.expires)
		}
		if !ok {
			t.kinds[v.kind]++
		}
		t.rows[k] = v
		t.changes++
	}
}

// widens reports whether a row ends what one with a later number does not. That is so only if the database lost the latter.
func widens(have row, r storage.Revocation) bool {
	return r.Gen > have.gen || have.expires != never && (r.ExpiresAt.IsZero() || r.ExpiresAt.Unix() > int64(have.expires))
}

// maxReasons bounds the list of reasons, in which each new row looks for its own.
const maxReasons = 256

// reasonOf returns the index of a reason, and that of the empty one if there are too many.
func (t *table) reasonOf(reason string) uint16 {
	for i, have := range t.reasons {
		if have == reason {
			return uint16(i)
		}
	}
	if len(t.reasons) == maxReasons {
		return 0
	}
	t.reasons = append(t.reasons, reason)
	return uint16(len(t.reasons) - 1)
}

// endStep is the width of the lists of ends in seconds: a row is deleted so much later than it expires, at most. block is
// how many keys a block of such a list has.
const (
	endStep = 10
	block   = 128
)

// ending notes that the row of k expires then.
func (t *table) ending(k key, expires uint32) {
	step := int64(expires) / endStep
	list := t.ends[step]
	if last := len(list) - 1; last < 0 || len(list[last]) == block {
		list = append(list, make([]key, 0, block))
	}
	last := len(list) - 1
	list[last] = append(list[last], k)
	t.ends[step] = list
	t.next = min(t.next, step)
}

// expire looks at up to limit rows whose time has come, deletes those that have expired, and reports whether there may be
// more.
func (t *table) expire(now time.Time, limit int) (more bool) {
	seconds := now.Unix()
	for len(t.ends) > 0 && seconds >= (t.next+1)*endStep {
		list := t.ends[t.next]
		for len(list) > 0 {
			if limit -= block; limit < 0 {
				t.ends[t.next] = list
				return true
			}
			last := len(list) - 1
			for _, k := range list[last] {
				if r, ok := t.rows[k]; ok && int64(r.expires) <= seconds { // and was not replaced by a longer one
					delete(t.rows, k)
					t.kinds[r.kind]--
				}
			}
			list[last], list = nil, list[:last]
		}
		delete(t.ends, t.next)
		t.next = math.MaxInt64
		for step := range t.ends {
			t.next = min(t.next, step)
		}
	}
	if len(t.rows) == 0 {
		t.rows = make(map[key]row) // a map keeps the memory of deleted entries
	}
	return false
}

// find returns the widest row that ends the tokens with these identifiers.
func (t *table) find(token introspect.Token) (Match, bool) {
	for kind, id := range [...]string{
		kindKey: token.KID, kindClient: token.ClientID, kindUser: token.User, kindDevice: token.Device, kindGrant: token.SID,
		kindToken: token.JTI, kindGen: token.User,
	} {
		if id == "" || t.kinds[kind] == 0 {
			continue
		}
		domain := ""
		if kind == kindUser || kind == kindDevice || kind == kindGen {
			if domain = token.Domain; domain == "" {
				continue
			}
		}
		r, ok := t.rows[t.keyOf(uint8(kind), domain, id)]
		if ok && (kind != kindGen || token.Gen < r.gen) {
			return Match{Seq: r.seq, Kind: kinds[r.kind], Gen: r.gen, Reason: t.reasons[r.reason]}, true
		}
	}
	return Match{}, false
}
