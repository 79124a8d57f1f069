package client

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Admin is how an operator reaches a running issuer: through the Unix socket at this path.
type Admin string

// Do sends a request and reads the JSON answer into answer. A refusal is an [*Error].
func (a Admin) Do(ctx context.Context, method, path string, query url.Values, answer any) error {
	u := url.URL{Scheme: "http", Host: "issuer", Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return err
	}
	return a.send(req, answer)
}

// Send is Do with a body, which is sent as JSON.
func (a Admin) Send(ctx context.Context, method, path string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	u := url.URL{Scheme: "http", Host: "issuer", Path: path}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	return a.send(req, answer)
}

func (a Admin) send(req *http.Request, answer any) error {
	return send(a.HTTP(), req, answer)
}

// HTTP returns a client whose requests all go to the socket, whatever host they name. It keeps no connection open.
func (a Admin) HTTP() *http.Client {
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", string(a))
		},
	}}
}

// Backup has the issuer write its database to a new file, however long that takes.
func (a Admin) Backup(ctx context.Context, to string, answer any) error {
	u := url.URL{Scheme: "http", Host: "issuer", Path: "/admin/backup", RawQuery: url.Values{"to": {to}}.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), nil)
	if err != nil {
		return err
	}
	patient := a.HTTP()
	patient.Timeout = 0
	return send(patient, req, answer)
}

// RemoveDevice ends a device for the reason given.
func (a Admin) RemoveDevice(ctx context.Context, domain, device, reason string, answer any) error {
	return a.Do(ctx, http.MethodDelete, "/admin/devices/"+domain+"/"+device, url.Values{"reason": {reason}}, answer)
}

// User sends a request about a user, who is named by her id or, after an @, by her handle: with no action for the user
// herself, else for that action. An empty domain is the issuer's only one.
func (a Admin) User(ctx context.Context, method, domain, user, action string, query url.Values, answer any) error {
	if query == nil {
		query = url.Values{}
	}
	if domain != "" {
		query.Set("domain", domain)
	}
	path := "/admin/users/" + user
	if action != "" {
		path += "/" + action
	}
	return a.Do(ctx, method, path, query, answer)
}

// RenameUser gives a user another handle.
func (a Admin) RenameUser(ctx context.Context, domain, user, handle string, answer any) error {
	return a.User(ctx, http.MethodPut, domain, user, "handle", url.Values{"handle": {handle}}, answer)
}

// Relink has links moved as the lines of a file say, or with dry only tells what would become of them.
func (a Admin) Relink(ctx context.Context, domain string, lines []byte, dry bool, answer any) error {
	query := url.Values{"dry_run": {strconv.FormatBool(dry)}}
	if domain != "" {
		query.Set("domain", domain)
	}
	u := url.URL{Scheme: "http", Host: "issuer", Path: "/admin/links", RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(lines))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	return a.send(req, answer)
}

// RotateKey has the next signing key made, which signs when it was published for long enough or, with now, at once.
func (a Admin) RotateKey(ctx context.Context, now bool, answer any) error {
	query := url.Values{}
	if now {
		query.Set("now", "true")
	}
	return a.Do(ctx, http.MethodPost, "/admin/keys", query, answer)
}

// RevokeKey revokes a signing key for the reason given.
func (a Admin) RevokeKey(ctx context.Context, kid, reason string, answer any) error {
	return a.Do(ctx, http.MethodDelete, "/admin/keys/"+kid, url.Values{"reason": {reason}}, answer)
}
