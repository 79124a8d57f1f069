package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// activate opens the public socket of an issuer, as systemd does for a .socket unit, and keeps it open until the test ends.
func (v *victim) activate(t *testing.T, name string) {
	t.Helper()
	l, err := net.Listen("tcp", v.listen)
	if err != nil {
		t.Fatal(err)
	}
	file, err := l.(*net.TCPListener).File()
	if err := errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	v.sockets, v.socketNames = append(v.sockets, file), strings.Trim(v.socketNames+":"+name, ":")
}

// TestActivatedRestart restarts an issuer on a socket of the service manager while devices refresh and a service introspects their
// tokens. No request fails, and no connection is refused or cut.
func TestActivatedRestart(t *testing.T) {
	t.Parallel()
	const devices, restarts, between = 8, 3, 40
	v := newVictim(t, "  - id: watcher", "    auth: secret", "    secret_sha256: "+secretHash, "    scopes: [feed]", "    domains: [example.com]")
	v.activate(t, "issuer.socket")
	v.start(t)
	sessions := make([]*held, devices)
	for i := range sessions {
		sessions[i] = newSession(t, v, person(i))
	}
	var group sync.WaitGroup
	var done atomic.Int64
	var failed, over atomic.Bool
	for _, s := range sessions {
		group.Go(func() {
			for !over.Load() {
				tokens, err := s.app.Refresh(t.Context(), s.tokens.RefreshToken)
				if err != nil {
					failed.Store(true)
					t.Errorf("refresh: %v", err)
					return
				}
				s.tokens = tokens
				if answer, err := v.introspected(tokens.AccessToken); err != nil || !answer.Active {
					failed.Store(true)
					t.Errorf("introspection: %v, %v, want active", answer.Active, err)
					return
				}
				done.Add(1)
			}
		})
	}
	var polls atomic.Int64
	group.Go(func() {
		for !over.Load() {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, v.issuer+"/events?wait=1", nil)
			if err != nil {
				t.Error(err)
				return
			}
			req.SetBasicAuth("watcher", "test")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				failed.Store(true)
				t.Errorf("poll: %v", err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			switch resp.StatusCode {
			case http.StatusOK:
				polls.Add(1)
			case http.StatusServiceUnavailable: // while it stops
				if resp.Header.Get("Retry-After") == "" {
					t.Error("503 without Retry-After")
				}
			default:
				failed.Store(true)
				t.Errorf("poll: %s", resp.Status)
				return
			}
		}
	})
	for range restarts {
		for due := done.Load() + between; done.Load() < due && !failed.Load(); {
			time.Sleep(time.Millisecond)
		}
		v.stop(t)
		v.start(t)
	}
	for due := done.Load() + between; done.Load() < due && !failed.Load(); {
		time.Sleep(time.Millisecond)
	}
	over.Store(true)
	group.Wait()
	v.stop(t)
	if polls.Load() < restarts {
		t.Errorf("%d polls were answered, want one for each restart at least", polls.Load())
	}
	t.Logf("%d refreshes and as many introspections were answered through %d restarts", done.Load(), restarts)
}

// TestActivatedWrongly holds that sockets which the issuer cannot serve are refused with the name of the socket and the remedy.
func TestActivatedWrongly(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	refused := func(want string) {
		t.Helper()
		cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec issuer serve --config "$1"`, "sh", v.config())
		cmd.ExtraFiles = v.sockets
		cmd.Env = append(os.Environ(), fmt.Sprintf("LISTEN_FDS=%d", len(v.sockets)), "LISTEN_FDNAMES="+v.socketNames)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(out), want) {
			t.Errorf("start = %v, %s, want %q", err, out, want)
		}
	}
	v.activate(t, "public")
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	public := v.sockets[0]
	v.sockets = []*os.File{file}
	refused(`the socket "public" of the service manager does not listen for connections (ListenStream=)`)
	v.sockets, v.socketNames = []*os.File{public, public}, "public:public"
	refused(`the service manager passes two sockets named "public": only one of each name can be served`)
	v.socketNames = "public:metrics"
	refused(`the service manager passes a socket named "metrics": name it public or admin with FileDescriptorName= in its unit`)
}
