// Package edge assembles a running gateway from its settings: trust, verifier, policies, the service for proxies or the reverse proxy,
// the admin interface and the metrics. The rules themselves are in the packages gateway and gateway/forwardauth.
//
// Start with [Open], then call [Instance.Serve]. Nothing is asked of an issuer at the start: keys are fetched for the first token that
// needs them, so a gateway starts while all issuers are down.
package edge

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/issuer"
	"github.com/imidentity/issuer/internal/trace"
)

// An Instance is a gateway as one settings file describes it.
type Instance struct {
	log  *slog.Logger
	now  func() time.Time
	tls  *issuer.Certificate // nil without TLS
	made *keyFromStart       // signs identities if the settings name no key
	pins string              // the file of the discovered issuers; empty for none

	replay       dpop.Replay
	memoryReplay *dpop.MemoryReplay // the same store, if it is in memory
	closeReplay  func() error
	proofs       *dpop.Verifier // checks and spends proofs
	dry          *dpop.Verifier // checks proofs and spends none, for [Instance.Check]

	metrics *metrics
	tracer  *trace.Tracer // nil without traces
	ready   readiness

	changing sync.Mutex // held while the settings or the suspensions change
	stops    suspensions
	state    atomic.Pointer[state]

	following following
}

// Options are the parts of an instance that the process around it provides.
type Options struct {
	// Log receives decisions and failures. Nil discards them.
	Log *slog.Logger
	// Now is the system's clock. Nil means [time.Now].
	Now func() time.Time
	// Build names the program, for traces.
	Build issuer.Build
	// CheckOnly is for [Instance.Check] without a running gateway: no store of spent proofs is opened, and any nonce is accepted.
	CheckOnly bool
}

// Open assembles a gateway. It makes the data folder if it is missing. The error says which part failed; it is a [config.Errors] if the
// settings are at fault.
func Open(ctx context.Context, cfg *config.Gateway, o Options) (*Instance, error) {
	i := &Instance{log: o.Log, now: o.Now, metrics: newMetrics()}
	if i.log == nil {
		i.log = slog.New(slog.DiscardHandler)
	}
	if i.now == nil {
		i.now = time.Now
	}
	if !o.CheckOnly {
		if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
			return nil, fmt.Errorf("make the data folder: %w", err)
		}
		i.pins = filepath.Join(cfg.Data, "pins.json")
	}
	if !o.CheckOnly {
		if err := i.openTracer(cfg, o.Build); err != nil {
			return nil, err
		}
	}
	if err := i.open(ctx, cfg, o.CheckOnly); err != nil {
		return nil, errors.Join(err, i.Close())
	}
	return i, nil
}

func (i *Instance) open(ctx context.Context, cfg *config.Gateway, checkOnly bool) error {
	var err error
	if i.stops, err = readSuspensions(cfg.Data); err != nil {
		return err
	}
	if i.tls, err = issuer.OpenCertificate(cfg.TLS.CertFile, cfg.TLS.KeyFile, i.log); err != nil {
		return err
	}
	if i.made, err = newKey(); err != nil {
		return err
	}
	if checkOnly {
		i.replay = noReplay{}
	} else if err := i.openReplay(ctx, cfg); err != nil {
		return err
	}
	if err := i.openProofs(cfg); err != nil {
		return err
	}
	s, err := i.newState(cfg, nil)
	if err != nil {
		return err
	}
	i.state.Store(s)
	i.metrics.gauges(i)
	return nil
}

func (i *Instance) openReplay(ctx context.Context, cfg *config.Gateway) (err error) {
	i.replay, i.closeReplay, err = issuer.OpenGatewayReplay(ctx, string(cfg.RedisURL), cfg.Limits.ReplayProofs, i.now)
	if err != nil {
		return fmt.Errorf("open the store of spent proofs: %w", err)
	}
	if i.memoryReplay, _ = i.replay.(*dpop.MemoryReplay); i.memoryReplay == nil {
		i.replay = i.tracer.Replay(i.replay, "redis")
	}
	return nil
}

// proofKeys is how many keys of devices may have a table: 23 MB in all, if that many devices send requests often.
const proofKeys = 256

// openProofs makes the verifiers of proofs.
func (i *Instance) openProofs(cfg *config.Gateway) error {
	c := dpop.Config{Algorithms: cfg.DPoP.Algorithms, Replay: i.replay, KeyTables: proofKeys, Now: i.now}
	if cfg.DPoP.Nonce == "required" && i.replay != (dpop.Replay)(noReplay{}) {
		secret := cfg.Secret
		if secret == [32]byte{} {
			rand.Read(secret[:]) // never fails
		}
		var err error
		if c.Nonces, err = dpop.NewNonces([][32]byte{secret}, i.now); err != nil {
			return err
		}
	}
	var err error
	if i.proofs, err = dpop.NewVerifier(c); err != nil {
		return err
	}
	c.Replay = unspent{i.replay}
	i.dry, err = dpop.NewVerifier(c)
	return err
}

// Close releases an instance that is not served. [Instance.Serve] does so itself.
func (i *Instance) Close() error {
	defer i.endTraces()
	if i.closeReplay == nil {
		return nil
	}
	return i.closeReplay()
}
