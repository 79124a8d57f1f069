package sqlite

import "context"

var (
	beginNumbers = statement("INSERT INTO sqlite_sequence (name, seq) SELECT 'revocations', 0 " +
		"WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'revocations')")
	beginHistory = statement("UPDATE sqlite_sequence SET seq = ((max(seq, ?1) >> 32) + 1) << 32 WHERE name = 'revocations' AND seq <= ?1")
)

func (t *tx) BeginHistory(ctx context.Context, above int64) error {
	if _, err := t.exec(ctx, beginNumbers); err != nil {
		return err
	}
	_, err := t.exec(ctx, beginHistory, above)
	return err
}
