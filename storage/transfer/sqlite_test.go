package transfer_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/transfer"
)

// TestKilledIssuer copies the database of an issuer that was killed: what is in its log only is copied, too. Until it is marked, the source
// stays as it is, byte for byte.
func TestKilledIssuer(t *testing.T) {
	t.Parallel()
	lived, killed := newSQLite(t), absentSQLite(t)
	s, err := lived.store(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	user := storage.User{Domain: "example.com", ID: "alice", Handle: "alice", CreatedAt: time.UnixMilli(1773500000000).UTC()}
	if err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.InsertUser(ctx, user) }); err != nil {
		t.Fatal(err)
	}
	content := map[string]string{}
	for _, suffix := range []string{"", "-wal"} {
		file, err := os.ReadFile(lived.name + suffix)
		if err == nil {
			err = os.WriteFile(killed.name+suffix, file, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		content[suffix] = string(file)
	}
	if strings.Contains(content[""], "alice") {
		t.Fatal("the user is in the file already: the log was folded")
	}
	to := newPostgres(t)
	source := killed.open(t, false)
	tables, err := source.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		if err := source.Rows(t.Context(), table, nil, func([]any) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if err := source.Close(); err != nil {
		t.Fatal(err)
	}
	for suffix, want := range content {
		if got, err := os.ReadFile(killed.name + suffix); err != nil || string(got) != want {
			t.Errorf("issuer.db%s changed before it was marked, %v", suffix, err)
		}
	}
	mustRun(t, killed, to)
	copied, err := to.store(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	if got, err := copied.User(t.Context(), "example.com", "alice"); err != nil || got != user {
		t.Errorf("User = %+v, %v, want %+v", got, err, user)
	}
}

// TestDamaged copies no database with a damaged page or a cut end, and changes nothing.
func TestDamaged(t *testing.T) {
	t.Parallel()
	whole := newSQLite(t)
	fill(t, whole, 10, 20)
	file, err := os.ReadFile(whole.name)
	if err != nil {
		t.Fatal(err)
	}
	page := append([]byte{}, file...)
	for i := len(page) / 2 / 4096 * 4096; i < len(page)/2+4096; i++ {
		page[i] = 0xa5
	}
	for name, content := range map[string][]byte{"page": page, "end": file[:len(file)-5000], "head": append([]byte("not a database at all"), file...)} {
		from, to := absentSQLite(t), absentSQLite(t)
		if err := os.WriteFile(from.name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := run(t.Context(), from, to, transfer.Options{}); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%s: Copy = %v, want that it is damaged", name, err)
		}
		if got, err := os.ReadFile(from.name); err != nil || string(got) != string(content) {
			t.Errorf("%s: the source was changed, %v", name, err)
		}
		if _, err := os.Stat(to.name); err == nil {
			t.Errorf("%s: the target was created", name)
		}
	}
}
