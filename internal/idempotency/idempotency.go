// Package idempotency lets a request that changes something be sent again without being done twice
// (draft-ietf-httpapi-idempotency-key-header): the caller gives it a key, and gets the first answer again.
//
// That a request was done is stored in the transaction that did it: [Wrap] makes the store add a row to the first transaction of the
// request. So a crash leaves either both or neither. The answer is stored afterwards, sealed by a key that is derived from the
// idempotency key, which is not stored: who reads the database cannot read the answer. If the process ends between the two, the request
// counts as done and its answer as lost.
//
// Start with [New], and call [Keeper.Begin] for each request that has a key. The package knows no HTTP beyond the header.
package idempotency

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/imidentity/issuer/storage"
)

// Life is how long a request is remembered.
const Life = 24 * time.Hour

// MaxAnswer is how many bytes a kept answer has at most. A longer one counts as lost.
const MaxAnswer = 1 << 20

// Errors of [Parse] and [Keeper.Begin]. Any other error means that nothing is known now.
var (
	// ErrMalformed is returned for a header that is not one string of structured headers with 1 to 255 characters.
	ErrMalformed = errors.New("idempotency: malformed key")
	// ErrOther is returned for a key that came with another request before.
	ErrOther = errors.New("idempotency: the key was used for another request")
	// ErrRunning is returned while the first request with the key is being answered, and by the transaction of a request that lost a
	// race against another one with its key.
	ErrRunning = errors.New("idempotency: a request with the key is being answered")
	// ErrLost is returned for a request that was done and whose answer is not known.
	ErrLost = errors.New("idempotency: the request was done, and its answer was lost")
)

// Parse reads the values of the header Idempotency-Key: one string of structured headers (RFC 9651 §3.3.3), such as
// "8e03978e-40d5-43dd-bc93-6894a57f9324", in quotes.
func Parse(values []string) (string, error) {
	if len(values) != 1 {
		return "", ErrMalformed
	}
	inner, ok := strings.CutPrefix(strings.Trim(values[0], " \t"), `"`)
	if !ok {
		return "", ErrMalformed
	}
	inner, ok = strings.CutSuffix(inner, `"`)
	// No client needs the escapes of quotes and backslashes.
	special := func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }
	if !ok || inner == "" || len(inner) > 255 || strings.ContainsFunc(inner, special) {
		return "", ErrMalformed
	}
	return inner, nil
}

// Config configures a [Keeper].
type Config struct {
	// Store is one that [Wrap] returned. Required.
	Store storage.Store
	// Secret is the key of the hashes and of the seals. Required.
	Secret [32]byte
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Rand makes nonces of seals. Required.
	Rand io.Reader
}

// A Keeper remembers the requests with keys, and their answers. It is safe for concurrent use.
type Keeper struct {
	Config
	mu      sync.Mutex
	running map[[32]byte]bool
}

// New returns a Keeper.
func New(cfg Config) (*Keeper, error) {
	if cfg.Store == nil || cfg.Secret == [32]byte{} || cfg.Rand == nil {
		return nil, errors.New("idempotency: Config is incomplete")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Keeper{Config: cfg, running: make(map[[32]byte]bool)}, nil
}

// An Answer is the answer to a request.
type Answer struct {
	Status      int    `json:"status"`
	ContentType string `json:"type,omitempty"`
	Body        []byte `json:"body,omitempty"`
}

// A Request is a request with a key that is being answered.
type Request struct {
	keeper *Keeper
	row    storage.KeptAnswer
	seal   [32]byte
	// Kept is the first answer to the request. It is nil if this is the first request.
	Kept *Answer

	mu   sync.Mutex
	done bool // the row is durable
}

// Begin finds out whether a request came before. The parts of what are everything that the request asks. The errors are [ErrOther],
// [ErrRunning] and [ErrLost]. The caller answers with [Request.Kept] or, if that is nil, does the request with [Request.Context] and
// stores its answer with [Request.Finish]; in each case it calls [Request.End].
func (k *Keeper) Begin(ctx context.Context, caller, key string, what ...string) (*Request, error) {
	r := &Request{keeper: k, seal: k.hash("seal", caller, key)}
	r.row = storage.KeptAnswer{Key: k.hash("key", caller, key), Request: k.hash("request", what...), ExpiresAt: k.Now().Add(Life)}
	k.mu.Lock()
	busy := k.running[r.row.Key]
	k.running[r.row.Key] = true
	k.mu.Unlock()
	if busy {
		return nil, ErrRunning
	}
	err := r.find(ctx)
	if err != nil {
		r.End()
		return nil, err
	}
	return r, nil
}

// find reads the row of the request, if there is one.
func (r *Request) find(ctx context.Context) error {
	kept, err := r.keeper.Store.KeptAnswer(ctx, r.row.Key)
	switch {
	case errors.Is(err, storage.ErrNotFound) || err == nil && !r.keeper.Now().Before(kept.ExpiresAt):
		return nil
	case err != nil:
		return fmt.Errorf("idempotency: find a request: %w", err)
	case !hmac.Equal(kept.Request[:], r.row.Request[:]):
		return ErrOther
	case len(kept.Answer) == 0:
		return ErrLost
	}
	r.Kept, err = r.open(kept.Answer)
	return err
}

// End ends the request: another one with its key is not refused any more as one that came too early.
func (r *Request) End() {
	r.keeper.mu.Lock()
	defer r.keeper.mu.Unlock()
	delete(r.keeper.running, r.row.Key)
}

// Finish stores the answer to the request. It also does so for a request that had no transaction. An answer that is too long counts
// as lost.
func (r *Request) Finish(ctx context.Context, a Answer) error {
	sealed := []byte{}
	if len(a.Body) <= MaxAnswer {
		var err error
		if sealed, err = r.close(a); err != nil {
			return err
		}
	}
	err := r.keeper.Store.Update(context.WithValue(ctx, requestKey{}, nil), func(ctx context.Context, tx storage.Tx) error {
		if r.isDone() {
			return tx.FillAnswer(ctx, r.row.Key, sealed)
		}
		row := r.row
		row.Answer = sealed
		return tx.KeepAnswer(ctx, row, r.keeper.Now())
	})
	if err != nil {
		return fmt.Errorf("idempotency: keep an answer: %w", err)
	}
	return nil
}

// Done reports whether a transaction of the request is durable.
func (r *Request) Done() bool { return r.isDone() }

func (r *Request) isDone() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.done
}

// aead seals the answers of one idempotency key.
func (r *Request) aead() (cipher.AEAD, error) {
	block, err := aes.NewCipher(r.seal[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func (r *Request) close(a Answer) ([]byte, error) {
	text, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	aead, err := r.aead()
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	if _, err := io.ReadFull(r.keeper.Rand, nonce); err != nil {
		return nil, fmt.Errorf("idempotency: make a nonce: %w", err)
	}
	return aead.Seal(nonce, nonce, text, r.row.Request[:]), nil
}

func (r *Request) open(sealed []byte) (*Answer, error) {
	aead, err := r.aead()
	if err != nil {
		return nil, err
	}
	if len(sealed) < aead.NonceSize() {
		return nil, errors.New("idempotency: a kept answer is damaged")
	}
	text, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], r.row.Request[:])
	if err != nil {
		return nil, fmt.Errorf("idempotency: a kept answer is damaged: %w", err)
	}
	a := new(Answer)
	if err := json.Unmarshal(text, a); err != nil {
		return nil, fmt.Errorf("idempotency: a kept answer is damaged: %w", err)
	}
	return a, nil
}

// hash is a keyed hash of texts, whose lengths are hashed, too.
func (k *Keeper) hash(label string, texts ...string) [32]byte {
	h := hmac.New(sha256.New, k.Secret[:])
	for _, text := range append([]string{label}, texts...) {
		_ = binary.Write(h, binary.BigEndian, int64(len(text))) // a hash never fails
		_, _ = io.WriteString(h, text)
	}
	return [32]byte(h.Sum(nil))
}
