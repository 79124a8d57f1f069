// Package redis stores spent DPoP proofs in Redis or Valkey, for an issuer or a resource that runs as several processes. It
// implements [dpop.Replay]. The issuer also has [Limits] there, and nothing else.
//
// [Open] takes a URL and refuses a server that evicts keys. A proof is spent by one script, which compares the epoch and records
// the proof in one step. If the answer is lost, the script is sent again and recognizes its own record. Without an answer in time
// the outcome is unknown, and the proof is not accepted.
//
// The epoch is a key beside the proofs, so it is lost with them. It changes when the server runs as another process, because a
// restart or a failover may have lost the last writes. It also changes when the server's clock jumps ahead by more than a minute,
// because the server expires keys by its own clock, and when the clock of a caller goes back by more than a minute. An epoch begins
// no earlier than the newest time at which a proof was spent.
package redis

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/storage"
)

// Options configures a [Replay].
type Options struct {
	// Prefix names the keys: "{PREFIX}:epoch" and "{PREFIX}:…" for each proof, all in one slot of a cluster. Empty means
	// "dpop". Servers with one prefix share their proofs.
	Prefix string
	// TLS configures the connection of a rediss URL. Nil means the authorities of the system and the host of the URL.
	TLS *tls.Config
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Rand names epochs. Nil means [rand.Reader].
	Rand io.Reader
}

// ErrEvicts is returned for a server whose maxmemory-policy is not noeviction.
var ErrEvicts = errors.New("redis: the server evicts keys")

// A Replay is a [dpop.Replay] on a Redis or Valkey server. It may be used by several goroutines.
type Replay struct {
	client  *goredis.Client
	prefix  string
	now     func() time.Time
	rand    io.Reader
	current atomic.Pointer[dpop.Epoch] // as last read, nil if it may have changed
	newest  atomic.Int64               // the newest time at which this process spent a proof, in milliseconds since 1970
}

var _ dpop.Cached = (*Replay)(nil)

// Open connects to the server at url: redis://USER:PASSWORD@HOST:PORT/DB, rediss:// for TLS, or
// unix://USER:PASSWORD@/PATH?db=DB. Timeouts are a second unless the query says otherwise (dial_timeout, read_timeout,
// write_timeout, pool_timeout), and two retries follow (max_retries). A server that does not answer is [storage.ErrUnavailable]. One that
// refuses the password, or whose maxmemory-policy is not noeviction, is another error. Errors never show the URL.
func Open(ctx context.Context, url string, o Options) (*Replay, error) {
	settings, err := goredis.ParseURL(url)
	if err != nil { // its words may hold the password
		return nil, errors.New("redis: the URL is none of redis://, rediss:// or unix://, or has an unknown parameter")
	}
	for _, timeout := range []*time.Duration{&settings.DialTimeout, &settings.ReadTimeout, &settings.WriteTimeout,
		&settings.PoolTimeout} {
		if *timeout == 0 {
			*timeout = time.Second
		}
	}
	settings.ContextTimeoutEnabled = true
	if settings.MaxRetries == 0 {
		settings.MaxRetries = 2
	}
	settings.DialerRetries = 1
	settings.DisableIdentity = true
	settings.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	if o.TLS != nil && settings.TLSConfig != nil {
		config := o.TLS.Clone()
		if config.ServerName == "" {
			config.ServerName = settings.TLSConfig.ServerName
		}
		settings.TLSConfig = config
	}
	r := &Replay{client: goredis.NewClient(settings), prefix: o.Prefix, now: o.Now, rand: o.Rand}
	if r.prefix == "" {
		r.prefix = "dpop"
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.rand == nil {
		r.rand = rand.Reader
	}
	quiet()
	if _, err := r.Reread(ctx); err != nil {
		if isAway(err) {
			err = fmt.Errorf("%w: is the server running, and is its URL right? %w", storage.ErrUnavailable, err)
		}
		return nil, errors.Join(err, r.client.Close())
	}
	return r, nil
}

// isAway reports whether a server does not answer, or is about to: it reads its data.
func isAway(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, context.DeadlineExceeded) ||
		goredis.HasErrorPrefix(err, "LOADING")
}

// quiet keeps the library from writing to standard error. Its errors contain the same.
var quiet = sync.OnceFunc(func() { goredis.SetLogger(silent{}) })

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// Close closes the connections.
func (r *Replay) Close() error { return r.client.Close() }

// Epoch returns the current epoch as this process last saw it. It begins one if the server has none.
func (r *Replay) Epoch(ctx context.Context) (dpop.Epoch, error) {
	if e := r.current.Load(); e != nil {
		return *e, nil
	}
	return r.Reread(ctx)
}

// Reread reads the epoch from the server, as [dpop.Cached] says. It begins one if the server has none.
func (r *Replay) Reread(ctx context.Context) (dpop.Epoch, error) {
	var id [16]byte
	if _, err := io.ReadFull(r.rand, id[:]); err != nil {
		return dpop.Epoch{}, fmt.Errorf("redis: name an epoch: %w", err)
	}
	now := r.now()
	fresh := dpop.NewEpoch(id, time.UnixMilli(max(now.UnixMilli(), r.newest.Load())))
	answer, err := epochScript.Run(ctx, r.client, []string{r.key("epoch")},
		string(id[:]), fresh.Birth, now.UnixMilli()).Slice()
	if err != nil {
		return dpop.Epoch{}, explain(err)
	}
	var e dpop.Epoch
	if len(answer) != 2 {
		return dpop.Epoch{}, errors.New("redis: the epoch is not readable")
	}
	name, named := answer[0].(string)
	birth, born := answer[1].(int64)
	if !named || !born || copy(e.ID[:], name) != len(e.ID) {
		return dpop.Epoch{}, errors.New("redis: the epoch is not readable")
	}
	e.Birth = birth
	r.current.Store(&e)
	return e, nil
}

// Spend records key, see [dpop.Replay]; source does not matter. If the memory of the server is full, it returns
// [dpop.ErrReplayFull] for every source.
func (r *Replay) Spend(ctx context.Context, e dpop.Epoch, key [32]byte, until time.Time, _ netip.Addr) error {
	now := r.now()
	if !until.After(now) { // it need not be remembered, and nobody did
		return dpop.ErrStaleEpoch
	}
	// 128 bits of a key are stored: finding two that collide takes 2^64 signatures and gets one proof refused.
	record := r.key(base64.RawURLEncoding.EncodeToString(key[:16]))
	for newest := r.newest.Load(); newest < now.UnixMilli(); newest = r.newest.Load() {
		if r.newest.CompareAndSwap(newest, now.UnixMilli()) {
			break
		}
	}
	var attempt [8]byte
	rand.Read(attempt[:])
	answer, err := spendScript.Run(ctx, r.client, []string{r.key("epoch"), record},
		string(e.ID[:]), e.Birth, now.UnixMilli(), (until.Sub(now)+slack).Milliseconds()+1, string(attempt[:])).Text()
	switch {
	case err != nil:
		return explain(err)
	case answer == "spent":
		return nil
	case answer == "replayed":
		return dpop.ErrReplayed
	case answer == "stale":
		if e := r.current.Load(); e != nil {
			r.current.CompareAndSwap(e, nil)
		}
		return dpop.ErrStaleEpoch
	}
	return errors.New("redis: the answer is not readable")
}

func (r *Replay) key(name string) string { return "{" + r.prefix + "}:" + name }

// explain translates an error of the library for callers and operators.
func explain(err error) error {
	switch {
	case goredis.HasErrorPrefix(err, "EVICTS"):
		return fmt.Errorf("%w: maxmemory-policy is %s: set it to noeviction, or spent proofs would be forgotten", ErrEvicts,
			strings.TrimPrefix(err.Error(), "EVICTS "))
	case goredis.IsOOMError(err):
		return fmt.Errorf("redis: %w", dpop.ErrReplayFull)
	}
	return fmt.Errorf("redis: %w", err)
}
