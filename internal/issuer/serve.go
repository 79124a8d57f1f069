package issuer

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/imidentity/issuer/internal/follow"
	"github.com/imidentity/issuer/internal/server"
)

// shutdownTime is how long running requests may take after the server was asked to stop.
const shutdownTime = 10 * time.Second

// Serve answers on the two listeners until ctx ends, and then lets running requests finish. The public listener uses
// TLS if the settings name a certificate. Serve closes the listeners and the store.
func (i *Instance) Serve(ctx context.Context, public, admin net.Listener) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	var background sync.WaitGroup
	background.Go(func() { i.mirror.Run(work) })
	background.Go(func() { i.ring.Run(work) })
	background.Go(func() { i.server.Run(work) })
	background.Go(func() { i.checkDatabase(work) })
	for _, loop := range i.loops() {
		background.Go(func() { loop.Run(work) })
	}

	servers := []*http.Server{server.HTTP(i.server.Public(), i.log), server.HTTP(i.server.Admin(), i.log)}
	failed := make(chan error, len(servers))
	for n, l := range []net.Listener{public, admin} {
		serve := servers[n].Serve
		if n == 0 && i.tls != nil {
			servers[n].TLSConfig = i.tls.config()
			serve = func(l net.Listener) error { return servers[n].ServeTLS(l, "", "") }
		}
		go func() { failed <- serve(l) }()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	i.feed.Close() // callers that wait for events would not let the server shut down
	end, cancel := context.WithTimeout(work, shutdownTime)
	defer cancel()
	for _, s := range servers {
		err = errors.Join(err, s.Shutdown(end))
	}
	stop()
	background.Wait()
	return errors.Join(err, i.Close())
}

// loops returns the tasks that repeat while the issuer serves.
func (i *Instance) loops() []*follow.Loop {
	list := []*follow.Loop{
		follow.New(follow.Config{Name: "sweeping expired rows", Do: i.sweep, Interval: i.sweepEvery, Later: true, Log: i.log}),
		follow.New(follow.Config{Name: "noting the time", Do: i.noteTime, Interval: i.noteEvery, Log: i.log}),
		follow.New(follow.Config{Name: "following the clients", Do: i.clients.read, Interval: followEvery, Later: true, Log: i.log}),
	}
	if i.tls != nil {
		list = append(list, follow.New(follow.Config{Name: "following the certificate", Do: i.tls.look, Interval: certificateEvery,
			Later: true}))
	}
	return list
}
