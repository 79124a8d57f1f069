package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/web"
)

// A loopback is the listener to which a browser on this machine returns (RFC 8252 §7.3).
type loopback struct{ net.Listener }

func listenForBrowser() (loopback, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return loopback{}, fmt.Errorf("listen for the browser: %w", err)
	}
	return loopback{l}, nil
}

func (l loopback) redirectURI() string { return "http://" + l.Addr().String() + "/callback" }

func (l loopback) close() { _ = l.Close() } // the server may have closed it already

// await serves until the answer to flow arrives, calls finish with it, and shows the browser the outcome. Other requests, from
// pages or programs that found the port, are refused and change nothing.
func (l loopback) await(ctx context.Context, flow *client.Flow, finish func(*url.URL) error) error {
	var once sync.Once
	done := make(chan error, 1)
	server := &http.Server{
		ReadHeaderTimeout: 5 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			l := web.Choose("", r.Header)
			page := web.Page{
				Status: http.StatusBadRequest, Language: l,
				Title: l.Say("terminal.unexpected.title"), Text: l.Say("terminal.unexpected.text"),
			}
			switch {
			case r.URL.Path != "/callback":
				page.Status = http.StatusNotFound
			case r.Method == http.MethodGet && flow.Answers(r.URL):
				page.Text = l.Say("terminal.finished.text")
				once.Do(func() {
					err := finish(r.URL)
					page = pageFor(l, err)
					done <- err
				})
			}
			w.Header().Set("X-Content-Type-Options", "nosniff")
			w.Header().Set("Referrer-Policy", "no-referrer") // the URL holds the code
			_ = web.Show(w, page)                            // a browser that is gone needs no page
		}),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	var err error
	select {
	case <-ctx.Done():
		err = ctx.Err()
	case err = <-failed:
		err = fmt.Errorf("listen for the browser: %w", err)
	case err = <-done:
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second) // for the page to arrive
	defer cancel()
	if shut := server.Shutdown(end); errors.Is(shut, context.DeadlineExceeded) {
		_ = server.Close() // idle connections that a browser opened ahead
	}
	return err
}

// openBrowser opens a URL in the user's browser, if there is a screen. The URL is printed in any case.
func openBrowser(s *streams, target string) {
	opener := "xdg-open"
	switch {
	case runtime.GOOS == "darwin":
		opener = "open"
	case s.getenv("DISPLAY") == "" && s.getenv("WAYLAND_DISPLAY") == "":
		return // it would start a browser in this terminal
	}
	path, err := exec.LookPath(opener)
	if err != nil {
		return
	}
	cmd := exec.Command(path, target)
	cmd.Env = s.env
	if cmd.Start() == nil {
		go func() { _ = cmd.Wait() }() // the user sees whether it worked
	}
}
