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

// step is how long a server hands out the same nonce. A nonce is accepted in the step it was made in, in the
// one after, and, by nodes whose clock is behind, in the one before.
const step = time.Minute

// nonceLife is how long after the start of its step a nonce may still be accepted somewhere: two steps, and one
// more for a node whose clock is behind by as much.
const nonceLife = 3 * step

// Nonces makes and checks the nonces of RFC 9449 §8 without storing any: a nonce is a MAC over the number of
// the minute. Whoever knows the secret accepts it, so nodes need to share nothing else. It tells nothing,
// cannot be predicted, and consists of base64url, hence of NQCHARs (§8.1).
type Nonces struct {
	now     func() time.Time
	secrets atomic.Pointer[[][32]byte]
	window  atomic.Pointer[window]
}

// A window holds the nonces that are good in one step under one epoch.
type window struct {
	secrets *[][32]byte
	epoch   [16]byte
	step    int64
	nonces  []stepNonce // those of the newest secret first, the current step first
}

type stepNonce struct {
	text string
	step int64
}

// NewNonces returns the nonces that secrets, the newest first, make and accept; now reports the time and may be
// nil for [time.Now]. There must be at least one secret, of 256 random bits.
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

// SetSecrets replaces the secrets while the server runs. The first makes new nonces, all of them accept. To
// change a secret on several nodes, let each accept the new one as its second before any makes nonces with it,
// and drop the old one three minutes after the last.
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
	secrets, number := n.secrets.Load(), n.now().Unix()/int64(step/time.Second)
	if w := n.window.Load(); w != nil && w.step == number && w.epoch == e.ID && w.secrets == secrets {
		return w
	}
	w := &window{secrets: secrets, epoch: e.ID, step: number}
	for _, secret := range *secrets {
		for _, number := range [...]int64{number, number - 1, number + 1} {
			w.nonces = append(w.nonces, stepNonce{makeNonce(secret, e, number), number})
		}
	}
	n.window.Store(w)
	return w
}

// newest returns the nonce to hand out.
func (n *Nonces) newest(e Epoch) string {
	return n.current(e).nonces[0].text
}

// check returns the start of the step in which nonce was made, and false if it is not good now.
func (n *Nonces) check(e Epoch, nonce string) (time.Time, bool) {
	found, number := 0, int64(0)
	for _, good := range n.current(e).nonces {
		equal := subtle.ConstantTimeCompare([]byte(good.text), []byte(nonce))
		found |= equal
		number |= int64(-equal) & good.step
	}
	return time.Unix(number*int64(step/time.Second), 0).UTC(), found == 1
}

// makeNonce returns the nonce of a step: HMAC-SHA-256 under a key of its own for this purpose and epoch, cut to
// 128 bits.
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
