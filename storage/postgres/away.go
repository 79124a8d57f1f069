package postgres

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// IsAway reports whether an operation of a [Store] failed because the server does not answer, shuts down or starts: it may succeed later.
func IsAway(err error) bool {
	var connect *pgconn.ConnectError
	c := code(err)
	return strings.HasPrefix(c, "57P0") || strings.HasPrefix(c, "08") || strings.HasPrefix(c, "53") ||
		c == "" && (errors.As(err, &connect) || errors.Is(err, context.DeadlineExceeded) || isLost(err))
}
