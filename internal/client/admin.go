package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/imidentity/issuer/types/api"
)

// maxAdminAnswer is how many bytes are read of an answer: the largest is a page of statements, or a user with many devices.
const maxAdminAnswer = 16 << 20

// Admin is the admin API of a running issuer: at its admin socket, see [Socket], or over the network, see [Remote]. A refusal is an
// [*Error]. In all methods an empty domain means the issuer's only one.
type Admin struct {
	name   string // for people: the path of the socket, or the URL
	origin url.URL
	http   *http.Client
}

// Socket returns the admin API at the Unix socket with a path. It keeps no connection open.
func Socket(path string) Admin {
	return Admin{path, url.URL{Scheme: "http", Host: "issuer"}, &http.Client{Timeout: adminTimeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}}
}

// adminTimeout is how long an answer may take.
const adminTimeout = 30 * time.Second

// String returns the path of the socket, or the URL.
func (a Admin) String() string { return a.name }

// Network reports whether the API is asked over the network.
func (a Admin) Network() bool { return a.origin.Host != "issuer" || a.origin.Scheme != "http" }

// Do sends a request and reads the JSON answer into answer. A nil answer reads none.
func (a Admin) Do(ctx context.Context, method, path string, query url.Values, answer any) error {
	return a.do(ctx, a.http, method, path, query, "", nil, answer)
}

// Send is Do with a body, which is sent as JSON.
func (a Admin) Send(ctx context.Context, method, path string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return a.do(ctx, a.http, method, path, nil, "application/json", text, answer)
}

// HTTP returns a client for further requests. At a socket it sends all of them there, whatever host they name.
func (a Admin) HTTP() *http.Client { return a.http }

// tries is how often a request is sent whose answer is lost, and pause how long to wait in between.
const (
	tries = 3
	pause = 300 * time.Millisecond
)

// do sends a request. One that changes something has an idempotency key, so that it can be sent again if its answer is lost: the issuer
// does it once.
func (a Admin) do(
	ctx context.Context, c *http.Client, method, path string, query url.Values, contentType string, body []byte, answer any,
) error {
	u := url.URL{Scheme: a.origin.Scheme, Host: a.origin.Host, Path: path, RawQuery: query.Encode()}
	key := ""
	if method != http.MethodGet && method != http.MethodHead {
		key = `"` + rand.Text() + `"`
	}
	for try := 1; ; try++ {
		req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
		if err != nil {
			return err
		}
		if contentType != "" {
			req.Header.Set("Content-Type", contentType)
		}
		if key != "" {
			req.Header.Set("Idempotency-Key", key)
		}
		err = send(c, req, maxAdminAnswer, answer)
		if key == "" || try == tries || !lost(err, try) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// lost reports whether the answer to a request was lost: it was sent, or it is still being answered since then.
func lost(err error, try int) bool {
	refused := (*Error)(nil)
	if errors.As(err, &refused) {
		return try > 1 && refused.Code == "request_in_progress"
	}
	broken := (*url.Error)(nil)
	dial := (*net.OpError)(nil)
	return errors.As(err, &broken) && !errors.Is(err, context.Canceled) && !(errors.As(err, &dial) && dial.Op == "dial") &&
		!errors.As(err, new(*NotAdminError)) && !errors.As(err, new(*NoScopeError)) && !errors.As(err, new(*ClockError))
}

// Backup makes the issuer write its database to a new file. It waits as long as that takes.
func (a Admin) Backup(ctx context.Context, to string) (api.Backup, error) {
	c := *a.http
	c.Timeout = 0
	var b api.Backup
	err := a.do(ctx, &c, http.MethodPost, "/admin/backup", url.Values{"to": {to}}, "", nil, &b)
	return b, err
}

// Device returns a device, also a removed one, with its use.
func (a Admin) Device(ctx context.Context, domain, device string) (api.Device, error) {
	return ask[api.Device](ctx, a, http.MethodGet, "/admin/devices/"+domain+"/"+device, nil)
}

// RemoveDevice removes a device.
func (a Admin) RemoveDevice(ctx context.Context, domain, device, reason string) (api.Device, error) {
	return ask[api.Device](ctx, a, http.MethodDelete, "/admin/devices/"+domain+"/"+device, url.Values{"reason": {reason}})
}

// Person returns a user, named by id or, after an @, by handle.
func (a Admin) Person(ctx context.Context, domain, user string) (api.Person, error) {
	return ask[api.Person](ctx, a, http.MethodGet, "/admin/users/"+user, values("domain", domain))
}

// RenameUser gives a user another handle, also a reserved one if reserved is set.
func (a Admin) RenameUser(ctx context.Context, domain, user, handle string, reserved bool) (api.User, error) {
	query := values("domain", domain, "reserved", flag(reserved))
	query.Set("handle", handle)
	return ask[api.User](ctx, a, http.MethodPut, "/admin/users/"+user+"/handle", query)
}

// DisableUser disables a user.
func (a Admin) DisableUser(ctx context.Context, domain, user string) (api.DisabledUser, error) {
	return ask[api.DisabledUser](ctx, a, http.MethodPost, "/admin/users/"+user+"/disable", values("domain", domain))
}

// EnableUser lets a disabled user sign in again.
func (a Admin) EnableUser(ctx context.Context, domain, user string) (api.User, error) {
	return ask[api.User](ctx, a, http.MethodPost, "/admin/users/"+user+"/enable", values("domain", domain))
}

// RemoveUser removes a user for ever.
func (a Admin) RemoveUser(ctx context.Context, domain, user string, mayReturn bool) (api.RemovedUser, error) {
	query := values("domain", domain)
	if mayReturn {
		query.Set("may_return", "true")
	}
	return ask[api.RemovedUser](ctx, a, http.MethodDelete, "/admin/users/"+user, query)
}

// SearchUsers returns one page of the users whom a search finds; query is that of GET /admin/users, with search.
func (a Admin) SearchUsers(ctx context.Context, query url.Values) ([]api.FoundUser, error) {
	return ask[[]api.FoundUser](ctx, a, http.MethodGet, "/admin/users", query)
}

// EraseUser removes a user for ever, and makes sure that nothing of them can be recovered. A user who is enabled is erased only if
// confirmed.
func (a Admin) EraseUser(ctx context.Context, domain, user string, confirmed, mayReturn bool) (api.ErasedUser, error) {
	query := values("domain", domain)
	if confirmed {
		query.Set("confirm", "true")
	}
	if mayReturn {
		query.Set("may_return", "true")
	}
	return ask[api.ErasedUser](ctx, a, http.MethodPost, "/admin/users/"+user+"/erase", query)
}

// ExportUser returns everything that is stored about a user, as a JWT.
func (a Admin) ExportUser(ctx context.Context, domain, user string) (api.Export, error) {
	return ask[api.Export](ctx, a, http.MethodGet, "/admin/users/"+user+"/export", values("domain", domain))
}

// Readmit lets a removed person sign in again, as a new user.
func (a Admin) Readmit(ctx context.Context, domain, issuer, subject string) error {
	query := values("domain", domain)
	query.Set("iss", issuer)
	query.Set("sub", subject)
	return a.Do(ctx, http.MethodDelete, "/admin/removals", query, nil)
}

// ReleaseHandle lets others take a former handle.
func (a Admin) ReleaseHandle(ctx context.Context, domain, handle string) (api.ReleasedHandle, error) {
	query := values("domain", domain)
	query.Set("handle", handle)
	return ask[api.ReleasedHandle](ctx, a, http.MethodDelete, "/admin/names", query)
}

// Relink moves links as the lines say or, with dry, says what would be moved.
func (a Admin) Relink(ctx context.Context, domain string, lines []byte, dry bool) (api.Relinked, error) {
	query := values("domain", domain)
	query.Set("dry_run", strconv.FormatBool(dry))
	var r api.Relinked
	err := a.do(ctx, a.http, http.MethodPost, "/admin/links", query, api.TypeLines, lines, &r)
	return r, err
}

// Client returns a client, also a removed one.
func (a Admin) Client(ctx context.Context, id string) (api.Client, error) {
	return ask[api.Client](ctx, a, http.MethodGet, "/admin/client", url.Values{"id": {id}})
}

// AddClient registers a client in storage. The answer has its secret, if it authenticates by one.
func (a Admin) AddClient(ctx context.Context, registration api.NewClient) (api.Client, error) {
	var k api.Client
	err := a.Send(ctx, http.MethodPost, "/admin/clients", registration, &k)
	return k, err
}

// RemoveClient removes a client from storage.
func (a Admin) RemoveClient(ctx context.Context, id, reason string) (api.Client, error) {
	return ask[api.Client](ctx, a, http.MethodDelete, "/admin/clients", url.Values{"id": {id}, "reason": {reason}})
}

// ReplaceSecret gives a client in storage a new secret, which the answer has. The old one stays valid for the time of keep.
func (a Admin) ReplaceSecret(ctx context.Context, id string, keep time.Duration) (api.Client, error) {
	return ask[api.Client](ctx, a, http.MethodPost, "/admin/clients/secret", url.Values{"id": {id}, "keep": {keep.String()}})
}

// RotateKey publishes the next signing key. It signs after it was published for long enough or, with now, at once.
func (a Admin) RotateKey(ctx context.Context, now bool) (api.KeyChange, error) {
	return ask[api.KeyChange](ctx, a, http.MethodPost, "/admin/keys", values("now", flag(now)))
}

// RevokeKey revokes a signing key.
func (a Admin) RevokeKey(ctx context.Context, kid, reason string) (api.KeyChange, error) {
	return ask[api.KeyChange](ctx, a, http.MethodDelete, "/admin/keys/"+kid, url.Values{"reason": {reason}})
}

// ClusterSecrets returns the cluster secrets that are accepted, oldest first.
func (a Admin) ClusterSecrets(ctx context.Context) ([]api.ClusterSecret, error) {
	return ask[[]api.ClusterSecret](ctx, a, http.MethodGet, "/admin/cluster-secrets", nil)
}

// RotateClusterSecret makes a new cluster secret. With leaked, the old ones end at once.
func (a Admin) RotateClusterSecret(ctx context.Context, leaked bool) (api.ClusterSecret, error) {
	return ask[api.ClusterSecret](ctx, a, http.MethodPost, "/admin/cluster-secrets", values("leaked", flag(leaked)))
}

// KeyEncryptionKeys returns the key-encryption keys of a node.
func (a Admin) KeyEncryptionKeys(ctx context.Context) ([]api.KeyEncryptionKey, error) {
	return ask[[]api.KeyEncryptionKey](ctx, a, http.MethodGet, "/admin/key-encryption-keys", nil)
}

// RotateKEK has all secrets sealed under the new key-encryption key of a node, and returns the keys.
func (a Admin) RotateKEK(ctx context.Context) ([]api.KeyEncryptionKey, error) {
	return ask[[]api.KeyEncryptionKey](ctx, a, http.MethodPost, "/admin/key-encryption-keys", nil)
}

// WireKey returns the key that signs tokens for certificate authorities of Wire.
func (a Admin) WireKey(ctx context.Context) (api.WireKey, error) {
	return ask[api.WireKey](ctx, a, http.MethodGet, "/admin/wire-key", nil)
}

// ReplaceWireKey replaces that key by another one.
func (a Admin) ReplaceWireKey(ctx context.Context) (api.WireKey, error) {
	return ask[api.WireKey](ctx, a, http.MethodPost, "/admin/wire-key", nil)
}

// EndSession ends a session of a domain.
func (a Admin) EndSession(ctx context.Context, domain, id, reason string) (api.Session, error) {
	return ask[api.Session](ctx, a, http.MethodDelete, "/admin/sessions/"+domain+"/"+id, url.Values{"reason": {reason}})
}

// EndCredential ends a credential of a domain.
func (a Admin) EndCredential(ctx context.Context, domain, id, reason string) (api.Credential, error) {
	return ask[api.Credential](ctx, a, http.MethodDelete, "/admin/credentials/"+domain+"/"+id, url.Values{"reason": {reason}})
}

// MakeStatement makes the issuer sign a statement. The answer has it.
func (a Admin) MakeStatement(ctx context.Context, s api.NewStatement) (api.Statement, error) {
	var made api.Statement
	err := a.Send(ctx, http.MethodPost, "/admin/statements", s, &made)
	return made, err
}

// WithdrawStatement withdraws a statement about a subject of a domain.
func (a Admin) WithdrawStatement(ctx context.Context, domain, id, reason string) error {
	query := values("domain", domain)
	query.Set("reason", reason)
	return a.Do(ctx, http.MethodDelete, "/admin/statements/"+id, query, nil)
}

// ask is Do for an answer of type T.
func ask[T any](ctx context.Context, a Admin, method, path string, query url.Values) (T, error) {
	var answer T
	err := a.Do(ctx, method, path, query, &answer)
	return answer, err
}

// values returns a query with pairs of a name and a value. It leaves out empty values.
func values(pairs ...string) url.Values {
	query := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			query.Set(pairs[i], pairs[i+1])
		}
	}
	return query
}

func flag(on bool) string {
	if on {
		return "true"
	}
	return ""
}
