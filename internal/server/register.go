package server

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
)

// followEvery is how often the register looks for clients that another process has added, changed or removed.
const followEvery = 200 * time.Millisecond

// A register holds all clients there are, those of the settings and those in storage, and has the OAuth server serve
// them. No id is in both: the settings are refused if storage has, or ever had, a client of theirs.
type register struct {
	store storage.Store
	oauth *oauth.Provider
	log   *slog.Logger

	seen int64 // the number of the last change that was read; for [register.read] alone, which nobody calls twice at once

	mu   sync.Mutex
	cfg  *config.Config
	kept map[string]keptClient
}

// A keptClient is a client in storage, as it was read.
type keptClient struct {
	row   storage.Client
	entry config.Client
	fault error // why it cannot be served; nil if it can
}

// openRegister reads the clients in storage. It serves them when [register.configure] says beside which others.
func openRegister(ctx context.Context, store storage.Store, provider *oauth.Provider, cfg *config.Config, log *slog.Logger) (*register, error) {
	r := &register{store: store, oauth: provider, log: log, cfg: cfg, kept: make(map[string]keptClient)}
	if err := r.read(ctx); err != nil {
		return nil, err
	}
	return r, r.configure(cfg)
}

// configure puts the clients of cfg in the place of those of the settings before. The error, a [config.Errors], names
// those whose ids storage has; nothing has changed then.
func (r *register) configure(cfg *config.Config) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var faults config.Errors
	for i, c := range cfg.Clients {
		k, ok := r.kept[c.ID]
		path := fmt.Sprintf("clients[%d].id", i)
		switch {
		case !ok:
		case k.row.RemovedAt.IsZero():
			faults = append(faults, cfg.Fault(path, "%q is kept in storage already: choose another id, or remove that one with `issuer clients remove`, which ends the id for ever", c.ID))
		default:
			faults = append(faults, cfg.Fault(path, "%q was removed on %s and is never used again: choose another id", c.ID, k.row.RemovedAt.Format(time.DateOnly)))
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

// follow reads what has changed until ctx ends.
func (r *register) follow(ctx context.Context) {
	failing := false
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := r.read(ctx)
		if ctx.Err() == nil && failing != (err != nil) {
			failing = err != nil
			r.log.Warn("following the clients", slog.Bool("failing", failing), slog.Any("error", err))
		}
	}
}

// read takes up what has changed in storage since the last time.
func (r *register) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	rows, err := r.store.Clients(ctx, r.seen)
	if err != nil || len(rows) == 0 {
		return err
	}
	r.seen = rows[len(rows)-1].Seq
	return r.take(rows...)
}

// take has the clients be as rows say, unless they are known as they became later.
func (r *register) take(rows ...storage.Client) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, row := range rows {
		if r.kept[row.ID].row.Seq >= row.Seq {
			continue
		}
		k := keptClient{row: row}
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
		r.kept[row.ID] = k
	}
	return r.serve()
}

// serve has the OAuth server know the clients there are now, in one step.
func (r *register) serve() error {
	list := make([]oauth.Client, 0, len(r.kept)+len(r.cfg.Clients))
	for _, k := range r.kept {
		if k.fault == nil && k.row.RemovedAt.IsZero() {
			c := oauthClient(k.entry)
			c.Stored, c.OldSecretSHA256, c.OldSecretUntil = true, k.row.OldSecret, k.row.OldUntil
			list = append(list, c)
		}
	}
	for _, c := range r.cfg.Clients {
		list = append(list, oauthClient(c)) // last, so that they prevail
	}
	return r.oauth.SetClients(list)
}

// A listed is a client as the register knows it.
type listed struct {
	entry config.Client
	kept  *keptClient // nil for one of the settings
}

// list returns all clients in the order of their ids, without those that were removed.
func (r *register) list() []listed {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []listed
	own := make(map[string]bool)
	for _, c := range r.cfg.Clients {
		own[c.ID] = true
		list = append(list, listed{entry: c})
	}
	for id, k := range r.kept {
		if !own[id] && k.row.RemovedAt.IsZero() {
			list = append(list, listed{k.entry, &k})
		}
	}
	slices.SortFunc(list, func(a, b listed) int { return strings.Compare(a.id(), b.id()) })
	return list
}

// find returns the client of an id, also one that was removed, and false if there never was one.
func (r *register) find(id string) (listed, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.cfg.Clients {
		if c.ID == id {
			return listed{entry: c}, true
		}
	}
	k, ok := r.kept[id]
	return listed{k.entry, &k}, ok
}

// check reads a registration by the rules of the settings.
func (r *register) check(registration []byte, secret [32]byte) (config.Client, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cfg.Registration(registration, secret)
}

func (l listed) id() string {
	if l.kept != nil {
		return l.kept.row.ID
	}
	return l.entry.ID
}
