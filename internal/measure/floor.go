package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
)

const floorArgument = "floor"

// serveFloor is the process that shows what a request costs at least. It serves until stdin ends:
//
//	POST /verify?n=N   verifies N P-256 signatures
//	POST /sign?n=N     makes N P-256 signatures
//	POST /answer       the body becomes the answer to every other request
//
// Every other request is a bare exchange of net/http: the body is read, and the answer is written.
func serveFloor(stdin io.Reader, stdout io.Writer) error {
	handler, err := floorHandler()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler}
	go func() {
		_, _ = io.Copy(io.Discard, stdin)
		_ = server.Close()
	}()
	fmt.Fprintln(stdout, listener.Addr())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func floorHandler() (http.Handler, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256([]byte("floor"))
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		return nil, err
	}
	repeat := func(once func() error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			n, err := strconv.Atoi(r.URL.Query().Get("n"))
			for range n {
				err = errors.Join(err, once())
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
			}
		}
	}
	var answer atomic.Pointer[[]byte]
	answer.Store(new([]byte))
	mux := http.NewServeMux()
	mux.HandleFunc("POST /verify", repeat(func() error {
		if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
			return errors.New("the signature is not valid")
		}
		return nil
	}))
	mux.HandleFunc("POST /sign", repeat(func() error {
		_, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
		return err
	}))
	mux.HandleFunc("POST /answer", func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		answer.Store(&body)
	})
	bare := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(*answer.Load())
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // a mux would add its own cost to the exchange
		switch r.URL.Path {
		case "/verify", "/sign", "/answer":
			mux.ServeHTTP(w, r)
		default:
			bare(w, r)
		}
	}), nil
}

// A floorProcess is the other side of [serveFloor].
type floorProcess struct {
	cmd   *exec.Cmd
	in    io.Closer
	conns pool
}

func startFloor(ctx context.Context, place placement, stderr io.Writer) (*floorProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, floorArgument)
	cmd.Stderr = stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := place.start(cmd); err != nil {
		return nil, fmt.Errorf("start the floor: %w", err)
	}
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = in.Close()
		return nil, errors.Join(fmt.Errorf("start the floor: %w", err), cmd.Wait())
	}
	return &floorProcess{cmd: cmd, in: in, conns: pool{addr: strings.TrimSpace(addr)}}, nil
}

func (f *floorProcess) close() {
	f.conns.close()
	_ = f.in.Close()
	_ = f.cmd.Wait()
}

// repeat returns a window in which the process verifies or signs n times.
func (f *floorProcess) repeat(path string) func(ctx context.Context, n int) (action, error) {
	return func(ctx context.Context, n int) (action, error) {
		conns, err := f.conns.take(ctx, 1)
		if err != nil {
			return nil, err
		}
		request := fmt.Appendf(nil, "POST /%s?n=%d HTTP/1.1\r\nHost: floor\r\nContent-Length: 0\r\n\r\n", path, n)
		return func(context.Context) ([]float64, error) {
			_, err := conns[0].do(request)
			return nil, err
		}, nil
	}
}

// exchange returns windows of bare exchanges of the size that e tells.
func (f *floorProcess) exchange(callers int, e *exchange) func(ctx context.Context, n int) (action, error) {
	return func(ctx context.Context, n int) (action, error) {
		if len(e.request) == 0 {
			return nil, errors.New("no request to compare with")
		}
		conns, err := f.conns.take(ctx, callers)
		if err != nil {
			return nil, err
		}
		set := fmt.Appendf(nil, "POST /answer HTTP/1.1\r\nHost: floor\r\nContent-Length: %d\r\n\r\n", e.answer)
		if _, err := conns[0].do(append(set, bytes.Repeat([]byte("x"), e.answer)...)); err != nil {
			return nil, err
		}
		return func(context.Context) ([]float64, error) {
			return nil, share(conns, n, func(c *conn, _ int) error {
				_, err := c.do(e.request)
				return err
			})
		}, nil
	}
}
