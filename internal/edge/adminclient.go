package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// An Admin is the admin interface of a running gateway, at the path of its Unix socket.
type Admin string

// A Refused is the answer of a gateway that does not do what it was asked for.
type Refused struct {
	Status      int
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

func (e *Refused) Error() string { return e.Description }

// Peers returns the state of each peer. An error that is not a *[Refused] says that no gateway answers.
func (a Admin) Peers(ctx context.Context) (list []Peer, err error) {
	return list, a.do(ctx, http.MethodGet, "/peers", nil, &list)
}

// Suspend suspends the peers of a domain, or lifts that. The errors are those of [Admin.Peers].
func (a Admin) Suspend(ctx context.Context, domain string, suspended bool) error {
	verb := "/resume"
	if suspended {
		verb = "/suspend"
	}
	return a.do(ctx, http.MethodPost, "/peers/"+url.PathEscape(domain)+verb, nil, nil)
}

// Check has the gateway explain a decision. The errors are those of [Admin.Peers].
func (a Admin) Check(ctx context.Context, c Check) (answer Checked, err error) {
	return answer, a.do(ctx, http.MethodPost, "/check", c, &answer)
}

func (a Admin) do(ctx context.Context, method, path string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://gateway"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", string(a))
	}}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport, Timeout: 30 * time.Second}
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // everything needed was read
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		e := &Refused{Status: resp.StatusCode}
		if json.Unmarshal(raw, e) != nil || e.Description == "" {
			e.Description = fmt.Sprintf("the gateway answered %d", resp.StatusCode)
		}
		return e
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(raw, answer)
}
