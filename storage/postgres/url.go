package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// How long the server works on one statement, waits for one lock, and keeps a transaction of a process that hangs; and how long a
// process waits for an answer, and for a connection. A process gives up later than the server does.
const (
	statementTimeout = 5 * time.Second
	lockTimeout      = 3 * time.Second
	idleTimeout      = 15 * time.Second
	answerTimeout    = 8 * time.Second
	acquireTimeout   = 5 * time.Second
	connectTimeout   = 5 * time.Second
)

// ParseURL returns the configuration of connections to the database at a URL, postgres://USER:PASSWORD@HOST:PORT/DATABASE with the
// parameters of libpq. Connections that leave the machine use TLS and verify the name of the server (sslmode=verify-full) unless the
// URL says otherwise, and may not be left unencrypted. Errors do not contain the URL.
func ParseURL(text string) (*pgxpool.Config, error) {
	u, err := url.Parse(text)
	if err != nil {
		var parse *url.Error
		if errors.As(err, &parse) { // it has the URL, and so the password
			err = parse.Err
		}
		if strings.Contains(err.Error(), "invalid port") || strings.Contains(err.Error(), "invalid userinfo") {
			err = errors.New("a reserved character in the password or the user must be written as %XX")
		}
		return nil, fmt.Errorf("postgres: the URL is not valid: %w", err)
	}
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, errors.New("postgres: the URL does not begin with postgres://")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("postgres: the URL has parameters that are not valid: write & between them, and % as %25")
	}
	for name, values := range query {
		if len(values) > 1 {
			return nil, fmt.Errorf("postgres: the URL has the parameter %s more than once", name)
		}
		if strings.HasPrefix(name, "pool_") {
			return nil, fmt.Errorf("postgres: the URL has the parameter %s, which this program sets itself", name)
		}
	}
	if u.Host == "" && query.Get("host") == "" {
		return nil, errors.New("postgres: the URL has no host")
	}
	if strings.Trim(u.Path, "/") == "" {
		return nil, errors.New("postgres: the URL has no database: write postgres://USER@HOST/DATABASE")
	}
	local := isLocal(u.Host, query.Get("host"))
	mode := query.Get("sslmode")
	switch {
	case mode == "" && local:
		query.Set("sslmode", "prefer")
	case mode == "":
		query.Set("sslmode", "verify-full")
	case !local && (mode == "disable" || mode == "allow" || mode == "prefer"):
		return nil, fmt.Errorf("postgres: sslmode=%s can send the password and all records unencrypted over the network: leave it out "+
			"(verify-full), and set sslrootcert to the certificate of your authority if it is not a public one", mode)
	}
	u.RawQuery = query.Encode()
	cfg, err := pgxpool.ParseConfig(u.String())
	if err != nil {
		return nil, fmt.Errorf("postgres: the URL is not valid: %s", withoutURL(err))
	}
	c := &cfg.ConnConfig.Config
	if strings.Contains(u.Host+query.Get("host"), ",") && !query.Has("target_session_attrs") {
		c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite // of several servers, that which takes updates
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectTimeout
	}
	for name, value := range map[string]string{
		"client_encoding":                     "UTF8",
		"statement_timeout":                   millisOf(statementTimeout),
		"lock_timeout":                        millisOf(lockTimeout),
		"idle_in_transaction_session_timeout": millisOf(idleTimeout),
	} {
		c.RuntimeParams[name] = value
	}
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "issuer"
	}
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
	cfg.AfterConnect = checkConnection
	return cfg, nil
}

// withoutURL returns the reason of an error of parsing, without the URL that pgx puts in front.
func withoutURL(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, "`: "); i >= 0 {
		text = text[i+3:]
	}
	return text
}

// isLocal reports whether every host of a URL is this machine: a socket or a loopback address.
func isLocal(authority, parameter string) bool {
	hosts := strings.Split(authority, ",")
	if parameter != "" {
		hosts = strings.Split(parameter, ",")
	}
	for _, host := range hosts {
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		host = strings.Trim(host, "[]")
		addr, err := netip.ParseAddr(host)
		if !strings.HasPrefix(host, "/") && host != "localhost" && (err != nil || !addr.IsLoopback()) {
			return false
		}
	}
	return true
}

func millisOf(d time.Duration) string { return fmt.Sprint(d.Milliseconds()) }

// newPool opens a pool of at most n connections.
func newPool(ctx context.Context, cfg *pgxpool.Config, n int) (*pool, error) {
	cfg = cfg.Copy()
	if n <= 0 {
		n = max(4, 2*runtime.GOMAXPROCS(0))
	}
	cfg.MaxConns, cfg.MinConns = int32(n), 0
	p, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &pool{p}, nil
}

// errPooler is returned for connections that a pooler has accepted in place of the server.
var errPooler = errors.New("a connection pooler such as PgBouncer stands before the server. A connection through it may lose its " +
	"settings, its locks and its LISTEN: use the address of PostgreSQL itself in the URL. Each process of the issuer has a pool of its own")

// ifDirect returns a statement that evaluates an expression only if the process of the server that runs it is the one that accepted the
// connection: else its value is NULL. A proxy that forwards bytes does not change that. A pooler sends process numbers of its own in
// BackendKeyData: PgBouncer sends random ones in each of its modes. So it does not matter which session of the server the pooler uses.
func ifDirect(c *pgx.Conn, expression string) string {
	return fmt.Sprintf("SELECT CASE pg_backend_pid() WHEN %d THEN %s END", c.PgConn().PID(), expression)
}

// checkDirect returns errPooler for a connection through a pooler.
func checkDirect(ctx context.Context, c *pgx.Conn) error {
	// Not a prepared statement: another client's of the same name may be there already.
	answers, err := c.PgConn().Exec(ctx, ifDirect(c, "true")).ReadAll()
	if err != nil {
		return err
	}
	if len(answers) != 1 || len(answers[0].Rows) != 1 || answers[0].Rows[0][0] == nil {
		return errPooler
	}
	return nil
}

// checkConnection checks and completes the settings of a new connection. The connection shares a lock as long as it lasts, which a copy of
// the database takes alone: see [Transfer]. The second statement sees the marks that the last holder of the lock has made.
// In a session of a pooler the lock would outlast the refusal, so it is not taken there.
func checkConnection(ctx context.Context, c *pgx.Conn) error {
	answers, err := c.PgConn().Exec(ctx, ifDirect(c, shareDatabase)+"; "+selectSettings).ReadAll()
	if err != nil {
		return err
	}
	if len(answers) != 2 || len(answers[0].Rows) != 1 || len(answers[1].Rows) != 1 || len(answers[1].Rows[0]) != 6 {
		return errors.New("the settings of the connection have an unexpected form")
	}
	shared, settings := string(answers[0].Rows[0][0]) == "t", answers[1].Rows[0]
	timeout, encoding, durable := string(settings[0]), string(settings[1]), string(settings[2])
	switch {
	case answers[0].Rows[0][0] == nil, timeout != statementTimeout.String():
		return errPooler
	case string(settings[5]) == "t":
		return errStandby
	case encoding != "UTF8":
		return fmt.Errorf("the database has the encoding %s: create it with ENCODING 'UTF8'", encoding)
	case string(settings[3]) == "t":
		return errAway
	case string(settings[4]) == "t":
		return errPart
	case !shared:
		return errCopied
	case durable == "off": // else a crash of the server would undo acknowledged updates
		_, err = c.Exec(ctx, "SET synchronous_commit = on")
	}
	return err
}
