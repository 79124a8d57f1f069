package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/puddle/v2"

	"github.com/imidentity/issuer/storage"
)

// ErrOutcome is returned by Update if the connection was lost while the transaction was being committed: it may be durable, or undone.
var ErrOutcome = errors.New("postgres: the connection was lost during COMMIT: it is not known whether the transaction took effect")

// ErrSchemaOlder is returned on opening a database that was not migrated to the schema of this release.
var ErrSchemaOlder = errors.New("postgres: the schema of the database is missing or older than this release")

var (
	errClosed = errors.New("postgres: the store is closed")
	errNested = errors.New("postgres: Update or View called from within an update or a view of the same store")
	errOver   = errors.New("postgres: the transaction is over")
	errExited = errors.New("postgres: the update ended its goroutine")
	// errTurn makes an update run again that could not have the turn of a chain of the audit log.
	errTurn = errors.New("postgres: the chain of the audit log is busy")
)

// SQLSTATE codes.
const (
	codeSerialization = "40001"
	codeDeadlock      = "40P01"
	codeUnique        = "23505"
	codeLockTimeout   = "55P03"
	codeNoDatabase    = "3D000"
	codeNoTable       = "42P01"
	codeNoRights      = "42501"
	codeProtocol      = "08P01"
	codeFeature       = "0A000"
	codeNoFunction    = "42883"
)

// code returns the SQLSTATE of an error of the server, or "".
func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// again reports whether an update whose transaction failed with err before COMMIT can run again: it overlapped with another one, or its
// connection was lost. A unique index is violated only by a row that the snapshot of the transaction does not show.
func again(err error) bool {
	switch c := code(err); c {
	case codeSerialization, codeDeadlock, codeUnique, codeLockTimeout:
		return true
	case "":
		return errors.Is(err, errTurn) || isLost(err)
	default:
		return strings.HasPrefix(c, "57P0") || strings.HasPrefix(c, "08") // the server shuts down, or the connection is lost
	}
}

// isLost reports whether err means that a connection broke. A server that is not reached at all is another matter.
func isLost(err error) bool {
	var connect *pgconn.ConnectError
	return !errors.As(err, &connect) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, puddle.ErrClosedPool) &&
		(pgconn.SafeToRetry(err) || isNetwork(err))
}

// isUnsent reports whether the server has ended the connection before it got the statement.
func isUnsent(err error) bool {
	return pgconn.SafeToRetry(err) || len(code(err)) == 5 && code(err)[:4] == "57P0"
}

// isRefused reports whether the server has refused a COMMIT, and so undone the transaction. After a FATAL error nobody knows.
func isRefused(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.SeverityUnlocalized == "ERROR"
}

// explain adds to an error of opening what the operator can do.
func explain(cfg *pgxpool.Config, err error) error {
	at := fmt.Sprintf("the database %s at %s", cfg.ConnConfig.Database, cfg.ConnConfig.Host)
	var connect *pgconn.ConnectError
	var server *pgconn.PgError
	switch {
	case errors.Is(err, storage.ErrSchemaNewer):
		return fmt.Errorf("postgres: %s: %w: install that release again", at, err)
	case errors.Is(err, ErrSchemaOlder):
		return fmt.Errorf("%w: run `issuer migrate up`", err)
	case errors.Is(err, errPooler):
		return fmt.Errorf("postgres: %s: %w", at, errPooler)
	case errors.Is(err, errAway):
		return fmt.Errorf("postgres: %s: %w: start the issuer with that one. If the copy is given up, run `issuer storage reopen "+
			"postgres:FILE` with the file that holds the URL", at, errAway)
	case errors.Is(err, errPart):
		return fmt.Errorf("postgres: %s: %w: run the same `issuer storage copy` again to complete it, or use another database", at, errPart)
	case errors.Is(err, errCopied):
		return fmt.Errorf("postgres: %s: %w", at, errCopied)
	case errors.Is(err, errStandby):
		return fmt.Errorf("postgres: %w: %s: %w", storage.ErrUnavailable, at, errStandby)
	case errors.As(err, &server):
		switch {
		case server.Code == codeNoDatabase:
			return fmt.Errorf("postgres: %s does not exist: create it with ENCODING 'UTF8', or correct the URL: %w", at, server)
		case strings.HasPrefix(server.Code, "28"):
			return fmt.Errorf("postgres: %s refuses the user %q: correct the user or the password in the URL, or pg_hba.conf: %w", at,
				cfg.ConnConfig.User, server)
		case server.Code == codeNoRights:
			return fmt.Errorf("postgres: the user %q lacks rights in %s: grant them: %w", cfg.ConnConfig.User, at, server)
		case server.Code == codeProtocol && strings.Contains(server.Message, "startup parameter"):
			return fmt.Errorf("postgres: %s: %w: %w", at, errPooler, server)
		}
		return fmt.Errorf("postgres: %w: %s: %w", storage.ErrUnavailable, at, err)
	case errors.As(err, &connect) && strings.Contains(err.Error(), "tls:") || strings.Contains(err.Error(), "server refused TLS"):
		return fmt.Errorf("postgres: %s: no TLS connection: set sslrootcert in the URL to the certificate of its authority, and the "+
			"host to the name in its certificate: %s", at, reason(err))
	case errors.As(err, &connect), errors.Is(err, context.DeadlineExceeded), isLost(err):
		return fmt.Errorf("postgres: %w: %s does not answer: is it running, and are host and port right? %s", storage.ErrUnavailable, at,
			reason(err))
	}
	return fmt.Errorf("postgres: %s: %w", at, err)
}

// reason returns the last cause of an error on one line: pgx writes one for each address.
func reason(err error) string {
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n\t")
	return lines[len(lines)-1]
}

// known translates an error into one that callers branch on, if it is one of those.
func known(err error) (error, bool) {
	if err == storage.ErrNotFound || err == storage.ErrConflict {
		return err, true
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return storage.ErrNotFound, true
	}
	return err, false
}
