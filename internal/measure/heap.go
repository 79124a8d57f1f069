package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/edge"
)

// heapArgument makes this program a gateway that tells its heap.
const heapArgument = "gateway-heap"

// heapSocket is where it does so, in the folder of its settings.
const heapSocket = "heap.sock"

// serveHeap is a gateway with the settings of a file, as "issuer gateway" is. It answers each request at the socket with the heap in use
// after a collection, in bytes.
func serveHeap(ctx context.Context, file string) error {
	cfg, err := config.LoadGateway(file, nil)
	if err != nil {
		return err
	}
	instance, err := edge.Open(ctx, cfg, edge.Options{})
	if err != nil {
		return err
	}
	public, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return errors.Join(err, instance.Close())
	}
	admin, err := net.Listen("unix", filepath.Join(filepath.Dir(file), "admin.sock"))
	if err != nil {
		return errors.Join(err, public.Close(), instance.Close())
	}
	heap, err := net.Listen("unix", filepath.Join(filepath.Dir(file), heapSocket))
	if err != nil {
		return errors.Join(err, admin.Close(), public.Close(), instance.Close())
	}
	defer heap.Close()
	go func() {
		_ = http.Serve(heap, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			least := ^uint64(0) // the requests that run meanwhile allocate, too
			for range 5 {
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				least = min(least, m.HeapAlloc)
			}
			fmt.Fprint(w, least)
		}))
	}()
	return instance.Serve(ctx, edge.Listeners{Public: public, Admin: admin})
}

// heap asks a gateway of [serveHeap].
func (g *gateway) heap(ctx context.Context) (float64, error) {
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(g.dir, heapSocket))
		},
		DisableKeepAlives: true,
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://gateway/", nil)
	if err != nil {
		return 0, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(string(text), 64)
}

// The times at which the heap is looked at, with windows of the usual length: they grow and shrink with the windows. A spent proof is
// remembered for up to three minutes, so the load runs for longer than that before.
const (
	heapBefore = 200 * time.Second
	heapFirst  = 10 * time.Second
	heapSecond = 30 * time.Second
	heapGoal   = 5 // percent
)

// heapWork begins the name of what is measured.
const heapWork = "gateway, heap in use"

// heapDevices are how many devices send requests meanwhile.
const heapDevices = 2000

// measureHeap sends questions over 16 connections, and compares the heap of the gateway after 10 s and after 30 s.
func measureHeap(ctx context.Context, o options, place placement, dir string, stderr io.Writer) (_ []row, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	g, err := newGateway(filepath.Join(dir, "heap"), place, self, heapArgument)
	if err != nil {
		return nil, err
	}
	if err := g.start(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	members, err := g.members(heapDevices)
	if err != nil {
		return nil, err
	}
	conns, err := g.conns.take(ctx, callers)
	if err != nil {
		return nil, err
	}
	scaled := func(d time.Duration) time.Duration {
		return time.Duration(float64(d) * float64(o.window) / float64(usualWindow))
	}
	fmt.Fprintf(stderr, "Asking the gateway for %v.\n", scaled(heapBefore+heapSecond).Round(time.Second/10))
	load, end := context.WithCancel(ctx)
	defer end()
	ended := make(chan error, 1)
	go func() {
		err := together(callers, func(i int) error {
			return g.keepAsking(load, conns[i], members[i*len(members)/callers:(i+1)*len(members)/callers])
		})
		end() // one that failed ends the wait
		ended <- err
	}()
	var heaps []float64
	begin := time.Now()
	for _, at := range []time.Duration{scaled(heapBefore + heapFirst), scaled(heapBefore + heapSecond)} {
		select {
		case <-load.Done():
			return nil, errors.Join(<-ended, ctx.Err())
		case <-time.After(time.Until(begin.Add(at))):
		}
		bytes, err := g.heap(ctx)
		if err != nil {
			return nil, err
		}
		heaps = append(heaps, bytes/1e6)
	}
	end()
	if err := <-ended; err != nil {
		return nil, err
	}
	same := func(x float64) spread { return spread{x, x, x} }
	change := (heaps[1] - heaps[0]) / heaps[0] * 100
	return []row{
		{Work: heapWork + " after a collection, 16 connections, at 10 s", Unit: "MB", Cost: same(heaps[0])},
		{Work: "the same at 30 s", Unit: "MB", Cost: same(heaps[1])},
		{Work: "the difference", Unit: "%", Cost: same(max(change, -change)), Goal: heapGoal},
	}, nil
}

// heapPause is the time from one question to the next of a connection: 1600 questions per second in all. The rate is the same all the
// time, and with it the memory for spent proofs.
const heapPause = 10 * time.Millisecond

// keepAsking asks about requests of members in turn until ctx ends.
func (g *gateway) keepAsking(ctx context.Context, c *conn, members []member) error {
	var nonce string
	var fetched time.Time
	for n, begin := 0, time.Now(); ctx.Err() == nil; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Until(begin.Add(time.Duration(n) * heapPause))):
		}
		if time.Since(fetched) > 20*time.Second {
			var err error
			if nonce, err = g.nonce(ctx); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
			fetched = time.Now()
		}
		request, err := g.ask(&members[n%len(members)], nonce)
		if err != nil {
			return err
		}
		if _, err := c.do(request); err != nil {
			return err
		}
	}
	return nil
}
