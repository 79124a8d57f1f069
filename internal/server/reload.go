package server

import (
	"fmt"
	"log/slog"
	"reflect"

	"github.com/imidentity/issuer/internal/config"
)

// Reload takes up new settings while requests are under way: clients, peers and limits, and the files of the
// certificate. A request that has begun ends with what it found. What else differs from the settings that the instance
// runs with is named in the log and left as it was. An error means that nothing was changed; it is a [config.Errors]
// where the new settings are at fault.
func (i *Instance) Reload(next *config.Config) error {
	i.reloading.Lock()
	defer i.reloading.Unlock()
	cfg, waiting, err := i.cfg.Reload(next)
	if err != nil {
		return err
	}
	// Whatever may fail comes first. Peers that are the same keep the keys that were fetched from them.
	peers := i.believed.peers.Load()
	if !reflect.DeepEqual(cfg.Peers, i.cfg.Peers) {
		if peers, err = newPeers(cfg); err != nil {
			return fmt.Errorf("take up the peers: %w", err)
		}
	}
	if err := i.clients.configure(cfg); err != nil {
		return fmt.Errorf("take up the clients: %w", err)
	}
	i.believed.peers.Store(peers)
	i.limit(cfg)
	i.cfg = cfg
	if i.shown != nil {
		_ = i.shown.reload() // it has logged what is wrong, and shows what it did
	}
	for _, path := range waiting {
		i.log.Warn("setting needs a restart: it is left as it was", slog.String("key", path))
	}
	i.log.Info("settings read again", slog.Int("clients", len(cfg.Clients)), slog.Int("peers", len(cfg.Peers)),
		slog.Int("need_restart", len(waiting)))
	return nil
}

// limit sets the limits that hold from now on.
func (i *Instance) limit(cfg *config.Config) {
	i.server.Limits.Set(rates(cfg))
	i.server.Accounts.SetMaxDevices(cfg.Limits.DevicesPerUser)
	i.server.Accounts.SetMaxStatements(cfg.Limits.StatementsPerUser)
	i.server.Accounts.SetMaxRevocations(cfg.Limits.RevocationsPerUser)
	i.server.quota.resize(quotaSize(cfg))
	if i.remembered != nil {
		i.remembered.SetCapacity(cfg.Limits.ReplayProofs)
	}
}
