// Package doctor checks an issuer from the outside: settings, files and disk, host name, certificate and proxy, the CAs of domains,
// clocks, OpenID providers, the store of spent proofs and the database. Each [Finding] describes what was found and, if something is
// wrong, the remedy.
//
// It changes nothing. Its requests to other hosts go through internal/fetch and obey the settings.
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

// A Status is the severity of a [Finding].
type Status string

// The statuses, from good to bad. Unknown means that a check could not be made.
const (
	OK      Status = "ok"
	Warn    Status = "warn"
	Unknown Status = "unknown"
	Fail    Status = "fail"
)

// A Finding is the result of one check.
type Finding struct {
	// Check names the checked thing: "settings", "domains", "files", "data", "admin", "dns", "tls", "front door",
	// "proxy", "CA DOMAIN", "clock", "provider ID", "replay" or "database".
	Check  string `json:"check"`
	Status Status `json:"status"`
	// Text describes what was found. Remedy tells what to do; it is empty if there is nothing to do.
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
}

// patience is the time limit of one request of an examination.
const patience = 10 * time.Second

// An examination is one run of the checks.
type examination struct {
	cfg    *config.Config
	report func(Finding)
	client *http.Client
	issuer *url.URL
	admin  client.Admin

	running bool // an issuer answers at the admin socket
	nowhere bool // the issuer's host has no address
	open    bool // the public URL leads to the issuer
	clocks  []clock
}

// Run checks the issuer of cfg and reports each finding at once. It returns an error only if it could not check anything.
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
	e := &examination{cfg: cfg, report: report, client: h, issuer: issuer, admin: client.Socket(cfg.AdminSocket())}
	e.domains()
	e.files()
	e.data()
	for _, check := range []func(context.Context){e.socket, e.dns, e.certificate, e.frontDoor, e.cas, e.providers} {
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

// A reply is an HTTP answer whose body was read.
type reply struct {
	*http.Response
	body      []byte
	sent, got time.Time
}

// ask sends a request with the client h, for the network or the admin socket.
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

// cause returns err without the words of net/http, which repeat the URL of the request.
func cause(err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		return u.Err
	}
	return err
}

// forbidden returns the remedy for a request that the rules for outgoing requests refused.
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
