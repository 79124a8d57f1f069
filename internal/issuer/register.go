package issuer

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/internal/admin"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/storage"
)

// followEvery is how often the register reads the clients that another process has added, changed or removed.
const followEvery = 200 * time.Millisecond

// nudgeGap is the least time between two such reads, however often other processes announce changes.
const nudgeGap = 20 * time.Millisecond

// A register holds all clients, those of the settings and those in storage, and gives them to the OAuth server. No id is
// in both: settings are refused if storage has, or ever had, a client with the id of one of theirs.
type register struct {
	store   storage.Store
	clients *clients.Registry
	log     *slog.Logger

	anew atomic.Bool // the database may have lost changes: the next read replaces all clients
	seen int64       // the number of the last change that was read; used only by [register.read], which never runs twice at once

	mu     sync.Mutex
	cfg    *config.Config
	stored map[string]storedClient
}

var _ admin.Clients = (*register)(nil)

// A storedClient is a client in storage.
type storedClient struct {
	row   storage.Client
	entry config.Client
	fault error // set if the client is not served: its registration is not valid under these settings
}

// openRegister reads the clients in storage, and serves them beside those of the settings.
func openRegister(
	ctx context.Context, store storage.Store, registry *clients.Registry, cfg *config.Config, log *slog.Logger,
) (*register, error) {
	r := &register{store: store, clients: registry, log: log, cfg: cfg, stored: make(map[string]storedClient)}
	if err := r.read(ctx); err != nil {
		return nil, err
	}
	return r, r.configure(cfg)
}

// configure replaces the clients of the previous settings by those of cfg. The error is a [config.Errors] that names the
// clients whose ids are in storage; nothing has changed then.
func (r *register) configure(cfg *config.Config) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var faults config.Errors
	for i, c := range cfg.Clients {
		k, ok := r.stored[c.ID]
		path := fmt.Sprintf("clients[%d].id", i)
		switch {
		case !ok:
		case k.row.RemovedAt.IsZero():
			faults = append(faults, cfg.Fault(path, "%q is kept in storage already: choose another id, or remove that one with "+
				"`issuer clients remove`, which ends the id for ever", c.ID))
		default:
			faults = append(faults, cfg.Fault(path, "%q was removed on %s and is never used again: choose another id",
				c.ID, k.row.RemovedAt.Format(time.DateOnly)))
		}
	}
	if len(faults) > 0 {
		return faults
	}
	before := r.cfg
	r.cfg = cfg
	if err := r.serve(); err != nil {
		r.cfg = before
		return err
	}
	return nil
}

// read applies the changes in storage since the last time.
func (r *register) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	anew := r.anew.Swap(false)
	if anew {
		r.seen = 0
	}
	rows, err := r.store.Clients(ctx, r.seen)
	if err != nil {
		r.anew.Store(anew || r.anew.Load())
		return err
	}
	if len(rows) > 0 {
		r.seen = rows[len(rows)-1].Seq
	} else if !anew {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if anew {
		clear(r.stored)
	}
	return r.apply(rows...)
}

// restart makes the next read replace all clients in storage by those that the database has.
func (r *register) restart() { r.anew.Store(true) }

// Apply merges rows, ignoring any that are older than the register's own.
func (r *register) Apply(rows ...storage.Client) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.apply(rows...)
}

// apply merges rows. It needs the lock.
func (r *register) apply(rows ...storage.Client) error {
	for _, row := range rows {
		if r.stored[row.ID].row.Seq >= row.Seq {
			continue
		}
		k := storedClient{row: row}
		if row.RemovedAt.IsZero() {
			var sum [32]byte
			copy(sum[:], row.Secret)
			k.entry, k.fault = r.cfg.Registration(row.Registration, sum)
			if k.fault == nil && k.entry.ID != row.ID {
				k.fault = fmt.Errorf("is registered as %q", k.entry.ID)
			}
			if k.fault != nil {
				r.log.Error("a client in storage is not served: it does not go with the settings",
					slog.String("client", row.ID), slog.Any("error", k.fault))
			}
			if slices.ContainsFunc(r.cfg.Clients, func(c config.Client) bool { return c.ID == row.ID }) {
				r.log.Error("another process keeps a client in storage that these settings have: here it is that of the settings",
					slog.String("client", row.ID))
			}
		}
		r.stored[row.ID] = k
	}
	return r.serve()
}

// serve gives the present clients to the OAuth server, in one step.
func (r *register) serve() error {
	list := make([]clients.Client, 0, len(r.stored)+len(r.cfg.Clients))
	for _, k := range r.stored {
		if k.fault == nil && k.row.RemovedAt.IsZero() {
			c := oauthClient(k.entry)
			c.Stored, c.OldSecretSHA256, c.OldSecretUntil = true, k.row.OldSecret, k.row.OldUntil
			c.Foreign = k.row.RegisteredWith != ""
			list = append(list, c)
		}
	}
	for _, c := range r.cfg.Clients {
		list = append(list, oauthClient(c)) // last, so that they take precedence
	}
	return r.clients.Set(list)
}

// List returns all clients in the order of their ids, without those that were removed.
func (r *register) List() []admin.Client {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []admin.Client
	own := make(map[string]bool)
	for _, c := range r.cfg.Clients {
		own[c.ID] = true
		list = append(list, admin.Client{ID: c.ID, Entry: c})
	}
	for id, k := range r.stored {
		if !own[id] && k.row.RemovedAt.IsZero() {
			list = append(list, k.registered())
		}
	}
	slices.SortFunc(list, func(a, b admin.Client) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// Find returns the client with an id, also one that was removed, and false if there never was one.
func (r *register) Find(id string) (admin.Client, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.cfg.Clients {
		if c.ID == id {
			return admin.Client{ID: id, Entry: c}, true
		}
	}
	k, ok := r.stored[id]
	return k.registered(), ok
}

// Check reads a registration by the rules of the settings.
func (r *register) Check(registration []byte, secret [32]byte) (config.Client, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cfg.Registration(registration, secret)
}

func (k storedClient) registered() admin.Client {
	return admin.Client{ID: k.row.ID, Entry: k.entry, Stored: &k.row, Fault: k.fault}
}
