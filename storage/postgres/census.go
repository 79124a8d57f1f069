package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

// censusBlocks is how many blocks of a table one statement of a census reads: 128 MiB, so that no statement comes near its time limit.
var censusBlocks = 1 << 14

const (
	selectBlocks  = "SELECT pg_relation_size($1::text::regclass) / current_setting('block_size')::int"
	countUsers    = "SELECT count(*) FROM users WHERE " + blocks
	countDevices  = "SELECT count(*) FROM devices WHERE removed_at = 0 AND " + blocks
	countSessions = "SELECT count(*) FROM grants WHERE ended_at = 0 AND (idle_at = 0 OR idle_at > $3) " +
		"AND (expires_at = 0 OR expires_at > $3) AND " + blocks

	blocks = "ctid >= format('(%s,0)', $1::int8)::tid AND ctid < format('(%s,0)', $2::int8)::tid"
)

// Census counts part by part, so the numbers are of several moments, unless a transaction reads them.
func (r *reader) Census(ctx context.Context, now time.Time) (c storage.Census, err error) {
	for _, of := range []struct {
		table, count string
		args         []any
		to           *int
	}{
		{"users", countUsers, nil, &c.Users},
		{"devices", countDevices, nil, &c.Devices},
		{"grants", countSessions, []any{row.Millis(now)}, &c.Sessions},
	} {
		blocks, err := r.number(ctx, selectBlocks, of.table)
		if err != nil {
			return storage.Census{}, fmt.Errorf("size of %s: %w", of.table, err)
		}
		for from := 0; from < blocks; from += censusBlocks {
			n, err := r.number(ctx, of.count, append([]any{from, from + censusBlocks}, of.args...)...)
			if err != nil {
				return storage.Census{}, fmt.Errorf("count %s: %w", of.table, err)
			}
			*of.to += n
		}
	}
	return c, nil
}
