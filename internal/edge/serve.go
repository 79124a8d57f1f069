package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/imidentity/issuer/gateway"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/fetch"
)

// shutdownTime is how long running requests may take after the gateway was asked to stop.
const shutdownTime = 10 * time.Second

// Listeners are where a gateway answers.
type Listeners struct {
	Public net.Listener
	Admin  net.Listener // the Unix socket
	Health net.Listener // nil without metrics_listen
}

// Serve answers until ctx ends, and then lets running requests finish. It closes the listeners and the store of spent proofs.
func (i *Instance) Serve(ctx context.Context, l Listeners) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var background sync.WaitGroup
	i.following.begin(work, &background, i.log)
	i.following.follow(i.state.Load().home)
	if i.tls != nil {
		background.Go(func() { i.tls.Follow(work) })
	}
	type server struct {
		*http.Server
		at net.Listener
	}
	servers := []server{{i.server(i, true), l.Public}, {i.server(i.operators(), false), l.Admin}}
	if l.Health != nil {
		servers = append(servers, server{i.server(i.health(), false), l.Health})
	}
	failed := make(chan error, len(servers))
	for n, s := range servers {
		serve := s.Serve
		if n == 0 && i.tls != nil {
			s.TLSConfig = i.tls.TLS()
			serve = func(l net.Listener) error { return s.ServeTLS(l, "", "") }
		}
		go func() { failed <- serve(s.at) }()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	go i.FlushTraces(context.WithoutCancel(ctx)) // while requests end
	end, cancel := context.WithTimeout(work, shutdownTime)
	defer cancel()
	for _, s := range servers {
		if stuck := s.Shutdown(end); stuck != nil {
			err = errors.Join(err, stuck, s.Close())
		}
	}
	stop()
	background.Wait()
	return errors.Join(err, i.Close())
}

// server returns a server with limits. A reverse proxy has none for the time of a whole request, because bodies and answers may be long.
func (i *Instance) server(h http.Handler, public bool) *http.Server {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10, // a proxy passes on all headers of the client
		ErrorLog:          slog.NewLogLogger(i.log.Handler(), slog.LevelDebug),
	}
	if public && i.state.Load().proxy != nil {
		s.ReadTimeout, s.WriteTimeout = 0, 0
	}
	return s
}

// Reload applies new settings while requests run. Those that need a restart are named in the log. An error means that nothing was
// changed. It is a [config.Errors] if the new settings are at fault.
func (i *Instance) Reload(next *config.Gateway) error {
	i.changing.Lock()
	defer i.changing.Unlock()
	before := i.state.Load()
	cfg, waiting, err := before.cfg.Reload(next)
	if err != nil {
		return err
	}
	s, err := i.newState(cfg, before)
	if err != nil {
		return fmt.Errorf("apply the settings: %w", err)
	}
	i.following.follow(s.home) // first, because it inherits the revocations that are known
	i.state.Store(s)
	if i.memoryReplay != nil {
		i.memoryReplay.SetCapacity(cfg.Limits.ReplayProofs)
	}
	if before.proxy != nil {
		before.proxy.Close()
	}
	for _, path := range waiting {
		i.log.Warn("setting needs a restart: it is left as it was", slog.String("key", path))
	}
	i.log.Info("settings read again", slog.Int("peers", len(cfg.Peers)), slog.Int("routes", len(cfg.Routes)),
		slog.Int("need_restart", len(waiting)))
	return nil
}

// following runs the feed of the home issuer, which changes with the settings.
type following struct {
	mu     sync.Mutex
	ctx    context.Context // nil before the instance is served
	wait   *sync.WaitGroup
	log    *slog.Logger
	issuer string
	feed   *gateway.Feed
	cancel context.CancelFunc
}

func (f *following) begin(ctx context.Context, wait *sync.WaitGroup, log *slog.Logger) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ctx, f.wait, f.log = ctx, wait, log
}

// follow follows the feed of a home, and no other. Nil stands for none. Of another feed of the same issuer it keeps the revocations.
func (f *following) follow(h *home) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var next *gateway.Feed
	if h != nil {
		next = h.feed
	}
	if f.ctx == nil || next == f.feed {
		return
	}
	if f.cancel != nil {
		f.cancel()
	}
	before, issuer := f.feed, f.issuer
	f.feed, f.cancel = next, nil
	if next == nil {
		return
	}
	if f.issuer = h.cfg.Issuer; before != nil && f.issuer == issuer {
		next.Inherit(before)
	}
	ctx, cancel := context.WithCancel(f.ctx)
	f.cancel = cancel
	f.wait.Go(func() {
		if err := next.Run(fetch.For(ctx, fetch.Feed)); ctx.Err() == nil {
			f.log.Error("the feed of revocations has ended", slog.Any("error", err))
		}
	})
}
