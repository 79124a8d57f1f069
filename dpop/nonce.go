package dpop

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"sync/atomic"
	"time"
)

// step is how long a server sends the same nonce. A nonce is accepted in the step in which it was made, in the next one
// and, by nodes whose clock is behind, in the previous one.
const step = time.Minute

// NonceLife is how long after the start of its minute a nonce may be accepted by some node: see [NewNoncesFrom].
const NonceLife = nonceLife

// nonceLife is how long after the start of its step a nonce may be accepted by some node: two steps, and a third one by a
// node whose clock is one step behind.
const nonceLife = 3 * step

// Nonces makes and checks the nonces of RFC 9449 §8 and stores none: a nonce is a MAC over the number of the minute. Every
// node with the secret accepts it, so nodes share nothing else. A nonce contains no information, cannot be predicted, and
// is base64url, which consists of NQCHARs (§8.1).
type Nonces struct {
	now     func() time.Time
	source  func() [][32]byte // nil if the secrets are set
	secrets atomic.Pointer[[][32]byte]
	window  atomic.Pointer[window]
}

// A window holds the nonces that are valid in one step under one epoch.
type window struct {
	secrets *[32]byte // the first of the slice, by which slices are told apart
	epoch   [16]byte
	step    int64
	nonces  []stepNonce // those of the newest secret first, the current step first
}

type stepNonce struct {
	text string
	step int64
}

// NewNonces returns nonces that are made with the first of secrets and accepted with all of them. There must be at least
// one secret, of 256 random bits. now reports the time; nil means [time.Now].
func NewNonces(secrets [][32]byte, now func() time.Time) (*Nonces, error) {
	if now == nil {
		now = time.Now
	}
	n := &Nonces{now: now}
	if err := n.SetSecrets(secrets); err != nil {
		return nil, err
	}
	return n, nil
}

// NewNoncesFrom is [NewNonces] with secrets that source returns at any time: at least one, and the same slice as long as they are the
// same. A secret that is new must be accepted by all nodes before one of them makes nonces with it, and an old one must be accepted for
// [NonceLife] after the last node has stopped making nonces with it.
func NewNoncesFrom(source func() [][32]byte, now func() time.Time) (*Nonces, error) {
	n, err := NewNonces(source(), now)
	if err != nil {
		return nil, err
	}
	n.source = source
	return n, nil
}

// SetSecrets replaces the secrets while the server runs, see [NewNonces]. To change the secret of several nodes, first add
// the new one as the second secret of each, then make it the first secret of each, and remove the old one three minutes
// after that.
func (n *Nonces) SetSecrets(secrets [][32]byte) error {
	if len(secrets) == 0 {
		return errors.New("dpop: nonces need at least one secret")
	}
	own := append([][32]byte(nil), secrets...)
	n.secrets.Store(&own)
	return nil
}

// current returns the window of this moment.
func (n *Nonces) current(e Epoch) *window {
	secrets, number := *n.secrets.Load(), n.now().Unix()/int64(step/time.Second)
	if n.source != nil {
		secrets = n.source()
	}
	if w := n.window.Load(); w != nil && w.step == number && w.epoch == e.ID && w.secrets == &secrets[0] {
		return w
	}
	w := &window{secrets: &secrets[0], epoch: e.ID, step: number}
	for _, secret := range secrets {
		for _, number := range [...]int64{number, number - 1, number + 1} {
			w.nonces = append(w.nonces, stepNonce{makeNonce(secret, e, number), number})
		}
	}
	n.window.Store(w)
	return w
}

// newest returns the nonce to send.
func (n *Nonces) newest(e Epoch) string {
	return n.current(e).nonces[0].text
}

// check returns the start of the step in which nonce was made, and false if it is not valid now.
func (n *Nonces) check(e Epoch, nonce string) (time.Time, bool) {
	found, number := 0, int64(0)
	for _, good := range n.current(e).nonces {
		equal := subtle.ConstantTimeCompare([]byte(good.text), []byte(nonce))
		found |= equal
		number |= int64(-equal) & good.step
	}
	return time.Unix(number*int64(step/time.Second), 0).UTC(), found == 1
}

// makeNonce returns the nonce of a step: the first 128 bits of HMAC-SHA-256 under a key that is derived for nonces of this
// epoch.
func makeNonce(secret [32]byte, e Epoch, number int64) string {
	derive := hmac.New(sha256.New, secret[:])
	derive.Write([]byte("dpop nonce\x00"))
	derive.Write(e.ID[:])
	mac := hmac.New(sha256.New, derive.Sum(nil))
	var encoded [8]byte
	binary.BigEndian.PutUint64(encoded[:], uint64(number))
	mac.Write(encoded[:])
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}
