package issuer

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/internal/follow"
	"github.com/imidentity/issuer/internal/server"
)

// shutdownTime is how long running requests may take after the server was asked to stop.
const shutdownTime = 10 * time.Second

// Serve answers on the listeners until ctx ends, and then lets running requests finish. The public listener and that for operators use TLS
// if the settings name a certificate. Serve closes the listeners and the store.
func (i *Instance) Serve(ctx context.Context, l Listeners) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	var background sync.WaitGroup
	background.Go(func() { i.mirror.Run(work) })
	background.Go(func() { i.ring.Run(work) })
	background.Go(func() { i.server.Run(work) })
	background.Go(func() { i.checkDatabase(work) })
	registered := follow.New(follow.Config{Name: "following the clients", Do: i.clients.read, Interval: followEvery, Gap: nudgeGap,
		Later: true, Log: i.log})
	background.Go(func() { registered.Run(work) })
	if i.listen != nil {
		background.Go(func() { i.listen(work, i.log, nudges{i.mirror.Nudge, registered.Wake, i.ring.Nudge}) })
	}
	for _, loop := range i.loops() {
		background.Go(func() { loop.Run(work) })
	}

	listeners := []listener{{l.Public, i.server.Public(), i.tls}, {l.Admin, i.server.Admin(), nil}}
	if l.Operators != nil {
		listeners = append(listeners, listener{l.Operators, i.server.Operators(), i.operatorsTLS})
	}
	if l.Monitor != nil {
		listeners = append(listeners, listener{l.Monitor, i.server.Monitor(), nil})
	}
	var servers []*http.Server
	failed := make(chan error, len(listeners))
	var draining atomic.Bool
	for n := range listeners {
		if l.Kept {
			listeners[n].handler = closing(listeners[n].handler, &draining)
		}
	}
	for _, l := range listeners {
		s := server.HTTP(l.handler, i.log)
		servers = append(servers, s)
		serve := s.Serve
		if l.tls != nil {
			s.TLSConfig = l.tls.config()
			serve = func(l net.Listener) error { return s.ServeTLS(l, "", "") }
		}
		go func() { failed <- serve(l.Listener) }()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	go i.FlushTraces(context.WithoutCancel(ctx)) // while requests end
	i.feed.Close()                               // callers that wait for events would not let the server shut down
	if l.Kept && err == nil {
		err = drain(listeners, failed, &draining)
	}
	end, cancel := context.WithTimeout(work, shutdownTime)
	defer cancel()
	for _, s := range servers {
		err = errors.Join(err, s.Shutdown(end))
	}
	stop()
	background.Wait()
	last, done := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer done()
	i.signLastHead(last)
	return errors.Join(err, i.Close())
}

// drainTime is how long open connections are told to close before they are closed. A connection in use has its next request within this
// time. One that is idle for so long is closed.
const drainTime = 500 * time.Millisecond

// drain stops accepting connections, and has those that are open closed with their next answer, so that no client sends a request on a
// connection that is closed in the same moment. ended has the errors of the servers.
func drain(listeners []listener, ended <-chan error, draining *atomic.Bool) (err error) {
	draining.Store(true)
	for _, l := range listeners {
		err = errors.Join(err, l.Close())
	}
	for range listeners {
		<-ended // each reports that its listener is closed
	}
	time.Sleep(drainTime)
	return err
}

// closing returns a handler that has connections closed after their next answer while draining is true.
func closing(h http.Handler, draining *atomic.Bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if draining.Load() {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	})
}

// signLastHead has the last records signed, unless the database or the keys fail, or the time is not known: a head has a time.
func (i *Instance) signLastHead(ctx context.Context) {
	err := i.time()
	if err == nil {
		err = i.book.SignHeads(ctx)
	}
	if err != nil {
		i.log.Warn("the last record of the audit log has no signed head", slog.Any("error", err))
	}
}

// keepAudit signs heads of the audit log and removes old records, while the time is known.
func (i *Instance) keepAudit(ctx context.Context) error {
	if i.time() != nil {
		return nil // readiness says why
	}
	return i.book.Keep(ctx)
}

// keepAuditEvery is how often the issuer checks whether to sign a head of the audit log, or to remove old records.
const keepAuditEvery = time.Minute

// A listener is what Serve serves.
type listener struct {
	net.Listener
	handler http.Handler
	tls     *certificate // nil for none
}

// loops returns the tasks that repeat while the issuer serves.
func (i *Instance) loops() []*follow.Loop {
	list := []*follow.Loop{
		follow.New(follow.Config{Name: "sweeping expired rows", Do: i.sweep, Interval: i.sweepEvery, Later: true, Log: i.log}),
		follow.New(follow.Config{Name: "noting the time", Do: i.noteTime, Interval: i.noteEvery, Log: i.log}),
		follow.New(follow.Config{Name: "sealing secrets anew", Do: i.cluster.Reseal, Interval: resealEvery, Log: i.log}),
		follow.New(follow.Config{Name: "following the cluster secret", Do: i.followCluster, Interval: followEvery, Log: i.log}),
	}
	list = append(list, follow.New(follow.Config{Name: "counting users, devices and sessions", Do: i.count, Interval: i.sweepEvery,
		Later: true, Log: i.log}))
	list = append(list, follow.New(follow.Config{Name: "keeping the audit log", Do: i.keepAudit, Interval: keepAuditEvery, Later: true,
		Log: i.log}))
	for _, w := range i.files() {
		list = append(list, follow.New(follow.Config{Name: "following the certificate", Do: w.look, Interval: certificateEvery,
			Later: true}))
	}
	return list
}

// files returns the files of certificates that may change: those of the listeners, each once, and those of CAs.
func (i *Instance) files() []*watched {
	var list []*watched
	for _, c := range []*certificate{i.tls, i.operatorsTLS} {
		if c != nil && !slices.Contains(list, c.watched) {
			list = append(list, c.watched)
		}
	}
	return append(list, i.caFiles...)
}
