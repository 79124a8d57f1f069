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
//	POST /verify?n=N               verifies N P-256 signatures
//	POST /sign?n=N                 makes N P-256 signatures
//	POST /answer?verify=N&sign=N   the body becomes the answer to every other request
//
// Every other request is a bare exchange of net/http: the body is read, N signatures are verified and made, and the answer is
// written. Without the signatures the exchange itself would be cheaper than that of an issuer: a load that gets its answers as
// fast as it can read them never sleeps, and to wake one that waits is a large part of the cost of a write.
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
	verify := func() error {
		if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
			return errors.New("the signature is not valid")
		}
		return nil
	}
	sign := func() error {
		_, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /verify", func(w http.ResponseWriter, r *http.Request) { refuse(w, repeat(times(r, "n"), verify)) })
	mux.HandleFunc("POST /sign", func(w http.ResponseWriter, r *http.Request) { refuse(w, repeat(times(r, "n"), sign)) })
	var bare atomic.Pointer[answer]
	bare.Store(&answer{})
	mux.HandleFunc("POST /answer", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		bare.Store(&answer{body, times(r, "verify"), times(r, "sign")})
		refuse(w, err)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // a mux would add its own cost to the exchange
		switch path := r.URL.Path; {
		case r.Method == http.MethodPost && (path == "/verify" || path == "/sign" || path == "/answer"):
			mux.ServeHTTP(w, r)
		default:
			a := bare.Load()
			_, err := io.Copy(io.Discard, r.Body)
			if err = errors.Join(err, repeat(a.verify, verify), repeat(a.sign, sign)); err != nil {
				refuse(w, err)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(a.body)
		}
	}), nil
}

// An answer is that of a bare exchange, with the cryptography before it.
type answer struct {
	body         []byte
	verify, sign int
}

// times returns a number of the query, which the other side of the floor writes.
func times(r *http.Request, name string) int {
	n, _ := strconv.Atoi(r.URL.Query().Get(name))
	return n
}

func repeat(n int, once func() error) (err error) {
	for range n {
		err = errors.Join(err, once())
	}
	return err
}

func refuse(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
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

// exchange returns windows of bare exchanges with the cryptography of w and the sizes of e.
func (f *floorProcess) exchange(w *work, e *exchange) func(ctx context.Context, n int) (action, error) {
	return func(ctx context.Context, n int) (action, error) {
		if len(e.request) == 0 {
			return nil, errors.New("no request to compare with")
		}
		conns, err := f.conns.take(ctx, w.callers)
		if err != nil {
			return nil, err
		}
		set := fmt.Appendf(nil, "POST /answer?verify=%d&sign=%d HTTP/1.1\r\nHost: floor\r\nContent-Length: %d\r\n\r\n",
			w.verify+w.above, w.sign, e.answer)
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
