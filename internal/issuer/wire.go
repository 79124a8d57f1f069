package issuer

import (
	"context"
	"fmt"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/admin"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/internal/wire"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/storage"
)

// openWire makes the service of tokens for certificate authorities of Wire, and its key if a domain has such an authority.
func (i *Instance) openWire(
	ctx context.Context, sealer *keys.Sealer, registry *clients.Registry, replay dpop.Replay,
) (*wire.Service, error) {
	domains, err := wireDomains(i.cfg)
	if err != nil {
		return nil, err
	}
	i.wireKey = keys.NewFixed(sealer, wire.KeyName)
	if len(domains) > 0 {
		err := i.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
			k, made, err := i.wireKey.Make(ctx, tx)
			if err != nil || !made {
				return err
			}
			return audit.Append(ctx, tx, audit.Event{Kind: audit.WireKeyMade, Actor: audit.ActorIssuer, Key: k.KID, Reason: "start"})
		})
		if err != nil {
			return nil, fmt.Errorf("make the key for Wire: %w", err)
		}
	}
	return wire.New(wire.Config{
		Issuer: i.cfg.Issuer, Domains: domains, Store: i.store, Clients: registry, Key: i.wireKey, Replay: replay,
		SpendInUpdate: i.memoryReplay != nil, Nonces: i.cluster.Derive(labelWire, dpop.NonceLife).Keys,
		Algorithms: i.cfg.DPoP.Algorithms, Limiter: i.limits, Now: i.now,
	})
}

// wireDomains returns the domains that have certificate authorities of Wire.
func wireDomains(cfg *config.Config) (map[string]wire.Domain, error) {
	domains := make(map[string]wire.Domain)
	for _, d := range cfg.Domains {
		if len(d.Wire.Provisioners) == 0 {
			continue
		}
		names, err := claims.NewNamespace(claims.System(d.System), d.Name, cfg.Development)
		if err != nil {
			return nil, fmt.Errorf("domain %s: %w", d.Name, err)
		}
		w := wire.Domain{Names: names, Team: d.Wire.Team, AnyName: d.Wire.Name == "unchecked"}
		for _, text := range d.Wire.Provisioners {
			p, err := wire.ParseProvisioner(text)
			if err != nil {
				return nil, fmt.Errorf("domain %s: provisioner %s: %w", d.Name, text, err)
			}
			w.Provisioners = append(w.Provisioners, p)
		}
		domains[d.Name] = w
	}
	return domains, nil
}

// readWireKey returns the key for tokens to certificate authorities of Wire.
func (i *Instance) readWireKey(ctx context.Context) (keys.FixedKey, error) {
	return i.wireKey.Read(ctx, i.store)
}

// replaceWireKey replaces that key.
func (i *Instance) replaceWireKey(ctx context.Context) (k keys.FixedKey, err error) {
	by, _ := httpapi.OperatorOf(ctx)
	err = i.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		if _, err := i.wireKey.Read(ctx, tx); err != nil {
			return err
		}
		if k, err = i.wireKey.Replace(ctx, tx); err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Event{
			Kind: audit.WireKeyMade, Actor: admin.Actor(ctx), Address: by.Address, Key: k.KID, Reason: "operator",
		})
	})
	return k, err
}
