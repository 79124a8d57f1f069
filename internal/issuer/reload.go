package issuer

import (
	"fmt"
	"log/slog"

	"github.com/imidentity/issuer/internal/config"
)

// Reload applies new settings while requests run: clients, peers, limits and the files of the certificate. A running
// request ends with the settings that it began with. Other changed settings are named in the log and need a restart. An
// error means that nothing was changed. It is a [config.Errors] if the new settings are at fault.
func (i *Instance) Reload(next *config.Config) error {
	i.reloading.Lock()
	defer i.reloading.Unlock()
	cfg, waiting, err := i.cfg.Reload(next)
	if err != nil {
		return err
	}
	// Steps that can fail come first. Unchanged peers keep the keys that were fetched from them.
	peers, err := newPeers(cfg, i.trusted.peers.Load(), i.tracer.Fetch(), i.now, i.log)
	if err != nil {
		return fmt.Errorf("apply the peers: %w", err)
	}
	if err := i.clients.configure(cfg); err != nil {
		return fmt.Errorf("apply the clients: %w", err)
	}
	i.trusted.peers.Store(peers)
	i.setLimits(cfg)
	i.server.SetService(service(cfg))
	i.cfg = cfg
	for _, w := range i.files() {
		_ = w.reload() // it logs the error, and keeps the previous certificate
	}
	for _, path := range waiting {
		i.log.Warn("setting needs a restart: it is left as it was", slog.String("key", path))
	}
	i.log.Info("settings read again", slog.Int("clients", len(cfg.Clients)), slog.Int("peers", len(cfg.Peers)),
		slog.Int("need_restart", len(waiting)))
	return nil
}

// setLimits sets the limits from now on.
func (i *Instance) setLimits(cfg *config.Config) {
	i.limits.Set(rates(cfg))
	i.accounts.SetMaxDevices(cfg.Limits.DevicesPerUser)
	i.accounts.SetMaxStatements(cfg.Limits.StatementsPerUser)
	i.accounts.SetMaxRevocations(cfg.Limits.RevocationsPerUser)
	i.server.SetPendingLogins(quotaSize(cfg))
	if i.memoryReplay != nil {
		i.memoryReplay.SetCapacity(cfg.Limits.ReplayProofs)
	}
}
