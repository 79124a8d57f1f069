// Package issuer assembles a running issuer from its settings: storage, clock, keys, rules and HTTP. It also does the
// work of a running issuer that belongs to no request: it removes expired rows, notes the time, follows the clients in
// storage, and reloads settings and certificates.
//
// Start with [Open], then call [Instance.Serve]. The package names the databases, all in databases.go; no other package
// does.
package issuer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/certs"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/idempotency"
	"github.com/imidentity/issuer/internal/server"
	"github.com/imidentity/issuer/internal/statuses"
	"github.com/imidentity/issuer/internal/timed"
	"github.com/imidentity/issuer/internal/trace"
	"github.com/imidentity/issuer/internal/wire"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// An Instance is a whole issuer as one configuration describes it.
type Instance struct {
	reloading sync.Mutex
	cfg       *config.Config // the settings in effect

	log   *slog.Logger
	audit *audit.Recorder
	book  *audit.Book
	clock *clock
	now   func() time.Time // of the clock

	sweepEvery, noteEvery time.Duration
	keep                  storage.Retention // what the sweep leaves
	keepNames             time.Duration     // how long former names are kept; zero means as long as their users
	skew                  time.Duration     // how far the clocks of nodes may be apart; zero if there is only one

	store    storage.Store
	pages    storage.Checked
	backup   func(ctx context.Context, to string) error
	forget   func(ctx context.Context) error
	listen   func(ctx context.Context, log *slog.Logger, changed nudges)
	mirror   *revocation.Mirror
	feed     *revocation.Feed
	ring     *keys.Ring
	cluster  *keys.Cluster
	wireKey  *keys.Fixed
	wire     *wire.Service
	metrics  *metrics
	tracer   *trace.Tracer // nil without traces
	accounts *account.Accounts
	statuses *statuses.Lists
	kept     *idempotency.Keeper
	limits   *server.Limits
	shared   server.SharedBuckets // nil if no limit is shared with other nodes
	server   *server.Server
	clients  *register
	trusted  *authority
	tls      *certificate // nil if a proxy terminates TLS

	cas     *certs.Authorities
	caFiles []*watched // of cas

	operatorsTLS *certificate // nil if the listener for operators speaks no TLS

	closeReplay  func() error       // closes the store of spent proofs; nil if it needs no closing
	memoryReplay *dpop.MemoryReplay // the store of spent proofs, if it is in memory

	census atomic.Pointer[storage.Census] // what was counted last; nil before that

	clockFault atomic.Pointer[clockError] // found when the time was last noted: the clock may be behind that of another node

	pinging sync.Mutex
	pinged  time.Time // when the store was last asked, and its answer
	pingErr error
}

// Options are the parts of an instance that the process around it provides. With the zero value the instance logs
// nothing and uses the system's clock.
type Options struct {
	// Log receives requests and failures. Nil discards them.
	Log *slog.Logger
	// Now is the system's clock. Every part of the issuer uses it while it can be trusted. Nil means [time.Now].
	Now func() time.Time
	// Elapsed is a monotonic clock: it goes on when the system's clock is set. Nil derives it from Now, which works if
	// Now returns times with a monotonic reading, as [time.Now] does.
	Elapsed func() time.Duration
	// AcceptClock trusts the system's clock even if the database has seen a later time, or none for long.
	AcceptClock bool
	// SweepEvery is how often expired rows are removed. A sweep reads every session. Zero means five minutes.
	SweepEvery time.Duration
	// NoteEvery is how often the current time is noted in the database. Zero means 20 s.
	NoteEvery time.Duration
	// Build names the program, for the metrics.
	Build Build
	// Store is given the opened store and returns the one to use. Nil uses the opened one.
	Store func(storage.Store) storage.Store
	// Replay is the same for the store of spent proofs.
	Replay func(dpop.Replay) dpop.Replay
}

// A Build names a program: its release, and the revision of its source if that is known.
type Build struct{ Version, Revision string }

// Open assembles an issuer. At the first start it creates the data folder, the database and the signing key.
func Open(ctx context.Context, cfg *config.Config, o Options) (*Instance, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.SweepEvery == 0 {
		o.SweepEvery = 5 * time.Minute
	}
	if o.NoteEvery == 0 {
		o.NoteEvery = 20 * time.Second
	}
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	readKEK := keys.ReadKEK
	if cfg.Development {
		readKEK = keys.CreateKEK
	}
	sealer, err := openSealer(readKEK, KEKFiles(cfg)...)
	if err != nil {
		return nil, err
	}
	db, err := openDatabase(ctx, cfg)
	if err != nil {
		return nil, err
	}
	i := &Instance{
		cfg: cfg, sweepEvery: o.SweepEvery, noteEvery: o.NoteEvery, keep: retention(cfg.Retention),
		keepNames: time.Duration(cfg.Retention.Names),
		metrics:   newMetrics(o.Build),
	}
	i.store, i.pages, i.backup, i.forget, i.listen = db.store, db.pages, db.backup, db.forget, db.listen
	i.skew = db.skew
	if o.Store != nil {
		i.store = o.Store(i.store)
	}
	if i.tracer, err = newTracer(cfg, o, i.metrics.spans); err != nil {
		return nil, errors.Join(err, i.Close())
	}
	i.log = i.tracer.Log(o.Log)
	i.audit = audit.New(i.log)
	i.store = i.tracer.Store(i.store, databaseSystem(cfg))
	i.store = idempotency.Wrap(timed.New(i.store, i.metrics.timer("read"), i.metrics.timer("update")))
	if err := i.open(ctx, o, db, sealer); err != nil {
		if errors.Is(err, keys.ErrWrongKey) {
			err = fmt.Errorf("%s does not open what %s holds: set kek_file to the key that it was made under: %w",
				strings.Join(KEKFiles(cfg), " or "), cmp.Or(cfg.Database(), "the database"), err)
		} else if db.away != nil && db.away(err) && !errors.Is(err, storage.ErrUnavailable) {
			err = fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
		}
		return nil, errors.Join(err, i.Close())
	}
	return i, nil
}

// KEKFiles returns the files of the key-encryption keys: one, or two while one replaces the other.
func KEKFiles(cfg *config.Config) []string {
	if cfg.KEKFileNew == "" {
		return []string{cfg.KEKFile}
	}
	return []string{cfg.KEKFile, cfg.KEKFileNew}
}

// openSealer reads the key-encryption keys.
func openSealer(read func(path string) ([32]byte, error), files ...string) (*keys.Sealer, error) {
	var list [][32]byte
	for _, file := range files {
		key, err := read(file)
		if err != nil {
			return nil, err
		}
		list = append(list, key)
	}
	return keys.NewSealer(list[0], list[1:]...), nil
}

// open assembles the issuer on its opened database.
func (i *Instance) open(ctx context.Context, o Options, db *database, sealer *keys.Sealer) error {
	newest, err := i.store.Newest(ctx)
	if err != nil {
		return err
	}
	i.clock = newClock(o, newest, i.cfg.Development)
	i.now = i.clock.now
	i.store = i.audit.Store(i.store, audit.Chain{Node: i.cfg.Audit.Node, Now: i.now})
	if o.AcceptClock {
		newest = time.Time{}
	}
	replay, closeReplay, err := openReplay(ctx, i.cfg, db, i.now, newest)
	if err != nil {
		return err
	}
	i.closeReplay = closeReplay
	i.memoryReplay, _ = replay.(*dpop.MemoryReplay)
	i.shared = sharedBuckets(replay)
	if o.Replay != nil {
		replay = o.Replay(replay)
	}
	if i.memoryReplay == nil {
		replay = i.tracer.Replay(replay, replaySystem(i.cfg))
	}
	if i.tls, err = openCertificate(i.cfg.TLS.CertFile, i.cfg.TLS.KeyFile, i.log); err != nil {
		return err
	}
	if err := i.openOperatorsTLS(); err != nil {
		return err
	}
	if err := i.assemble(ctx, sealer, replay); err != nil {
		return err
	}
	if o.AcceptClock {
		if err := i.clock.note(ctx, i.store, true); err != nil {
			return err
		}
	}
	i.gauges(db.queue)
	return nil
}

// Server returns the HTTP side.
func (i *Instance) Server() *server.Server { return i.server }

// Close releases an instance that is not served. [Instance.Serve] does so itself.
func (i *Instance) Close() error {
	var err error
	if i.closeReplay != nil {
		err = i.closeReplay()
	}
	err = errors.Join(err, i.store.Close())
	i.endTraces()
	return err
}

// openOperatorsTLS opens the certificate of the listener for operators, which may be that of the public one.
func (i *Instance) openOperatorsTLS() (err error) {
	switch own := i.cfg.AdminTLS; {
	case i.cfg.AdminListen == "":
	case own == i.cfg.TLS:
		i.operatorsTLS = i.tls
	default:
		i.operatorsTLS, err = openCertificate(own.CertFile, own.KeyFile, i.log)
	}
	return err
}
