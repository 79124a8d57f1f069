package issuer

import (
	"context"
	"errors"
	"time"
)

// readyAge is how long an answer about the store is reused: it costs a durable write, and anybody may ask.
const readyAge = time.Second

// ready reports why the issuer cannot issue now.
func (i *Instance) ready(ctx context.Context) error {
	if err := i.time(); err != nil {
		return err
	}
	if err := errors.Join(i.mirror.Fresh(i.now()), i.ring.Fresh(i.now()), i.cluster.Fresh(i.now())); err != nil {
		return err
	}
	i.pinging.Lock()
	defer i.pinging.Unlock()
	if now := i.now(); now.Sub(i.pinged).Abs() >= readyAge {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second) // others use the answer too
		defer cancel()
		i.pingErr = i.store.Ping(ctx)
		i.pinged = i.now() // requests that waited meanwhile use this answer
	}
	return i.pingErr
}
