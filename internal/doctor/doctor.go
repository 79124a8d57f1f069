// Package doctor looks at an issuer from the outside, as its operator does when something does not work: at its
// settings, files and disk, at its name, certificate and proxy, at clocks, OpenID providers and the store of spent proofs.
// Each [Finding] says what was seen and, where that is not as it should be, how to mend it.
//
// It changes nothing. What it asks of other hosts goes through internal/fetch, as the settings allow.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/fetch"
)

// A Status says how bad a [Finding] is.
type Status string

// The statuses, from good to bad. Unknown is what could not be looked at.
const (
	OK      Status = "ok"
	Warn    Status = "warn"
	Unknown Status = "unknown"
	Fail    Status = "fail"
)

// A Finding is what one check saw.
type Finding struct {
	// Check names what was looked at: "settings", "domains", "files", "data", "admin", "dns", "tls", "front door",
	// "proxy", "clock", "provider ID", "replay" or "database".
	Check  string `json:"check"`
	Status Status `json:"status"`
	// Text says what was seen, Remedy what to do about it; it is empty if there is nothing to do.
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
}

// How long one question of an examination may take.
const patience = 10 * time.Second

// An examination is under way.
type examination struct {
	cfg    *config.Config
	report func(Finding)
	client *http.Client
	issuer *url.URL
	admin  client.Admin

	running bool // an issuer answers at the admin socket
	nowhere bool // the issuer's host has no address
	clocks  []clock
}

// Run looks at the issuer of cfg and reports findings as it makes them. It reports no error by itself but one that kept it
// from looking at anything.
func Run(ctx context.Context, cfg *config.Config, report func(Finding)) error {
	policy, err := cfg.FetchPolicy()
	if err != nil {
		return err
	}
	policy.Timeout = patience
	h, err := fetch.NewClient(policy)
	if err != nil {
		return err
	}
	defer h.CloseIdleConnections()
	issuer, err := url.Parse(cfg.Issuer)
	if err != nil {
		return err
	}
	e := &examination{cfg: cfg, report: report, client: h, issuer: issuer, admin: client.Admin(cfg.AdminSocket())}
	e.domains()
	e.files()
	e.data()
	for _, check := range []func(context.Context){e.socket, e.dns, e.certificate, e.frontDoor, e.providers} {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		check(ctx)
	}
	e.clock()
	e.replay(ctx)
	e.database(ctx)
	return ctx.Err()
}

func (e *examination) ok(check, format string, args ...any) {
	e.report(Finding{Check: check, Status: OK, Text: fmt.Sprintf(format, args...)})
}

func (e *examination) found(status Status, check, remedy, format string, args ...any) {
	e.report(Finding{Check: check, Status: status, Text: fmt.Sprintf(format, args...), Remedy: remedy})
}

// A reply is an HTTP answer, read to its end.
type reply struct {
	*http.Response
	body      []byte
	sent, got time.Time
}

// ask sends a request through the configured client, or through that of the admin socket.
func ask(ctx context.Context, h *http.Client, method, to string, header http.Header, body io.Reader) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, to, body)
	if err != nil {
		return reply{}, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	r := reply{sent: time.Now()}
	if r.Response, err = h.Do(req); err != nil {
		return reply{}, err
	}
	r.got = time.Now()
	r.body, err = io.ReadAll(r.Body)
	return r, errors.Join(err, r.Body.Close())
}

func (e *examination) get(ctx context.Context, to string) (reply, error) {
	return ask(ctx, e.client, http.MethodGet, to, nil, nil)
}

// cause returns err without the words of net/http, which repeat the URL.
func cause(err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		return u.Err
	}
	return err
}

// forbidden tells what to do about an error of the configured client that its policy made.
func (e *examination) forbidden(err error) (remedy string, ok bool) {
	var refused *fetch.RefusedError
	if !errors.As(err, &refused) {
		return "", false
	}
	switch refused.Part {
	case "address":
		return "name its network in outbound.allow_networks, if it is meant to be there", true
	case "redirect":
		return "give the URL that it redirects to, or end the redirect: what programs ask for is never redirected", true
	}
	return "see outbound in docs/settings.md", true
}
