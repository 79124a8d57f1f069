package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/postgres"
	"github.com/imidentity/issuer/storage/postgres/postgrestest"
)

// A proxy stands before the server. It cuts a connection when it sees a text in what the client sends: before the server gets it, or
// once the server has answered.
type proxy struct {
	dir    string
	cut    atomic.Pointer[string] // nil cuts nothing
	answer atomic.Bool            // the server gets the text, and its answer is lost
	cuts   atomic.Int64
}

func startProxy(t *testing.T, server *postgrestest.Server) *proxy {
	t.Helper()
	p := new(proxy)
	p.dir = before(t, server, p.serve)
	return p
}

// before returns the folder of a socket. Each connection to it is served, in place of the server.
func before(t *testing.T, server *postgrestest.Server, serve func(client net.Conn, server *postgrestest.Server)) string {
	t.Helper()
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go serve(client, server)
		}
	}()
	return dir
}

func (p *proxy) serve(client net.Conn, server *postgrestest.Server) {
	defer client.Close()
	up, err := server.Dial()
	if err != nil {
		return
	}
	defer up.Close()
	var silent atomic.Bool
	go func() {
		defer client.Close()
		buffer := make([]byte, 64<<10)
		for {
			n, err := up.Read(buffer)
			if err != nil || silent.Load() { // the answer came, and is lost
				return
			}
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		if text := p.cut.Load(); text != nil && bytes.Contains(buffer[:n], []byte(*text)) {
			p.cut.Store(nil)
			p.cuts.Add(1)
			if !p.answer.Load() {
				return
			}
			silent.Store(true)
		}
		if _, err := up.Write(buffer[:n]); err != nil {
			return
		}
		if silent.Load() {
			_, _ = io.Copy(io.Discard, client) // until the other goroutine has closed it
			return
		}
	}
}

func (p *proxy) arm(text string, answer bool) {
	p.answer.Store(answer)
	p.cut.Store(&text)
}

func addUser(id string) func(ctx context.Context, tx storage.Tx) error {
	return func(ctx context.Context, tx storage.Tx) error {
		return tx.InsertUser(ctx, storage.User{Domain: "example.com", ID: id})
	}
}

func exists(t *testing.T, s storage.Store, id string) bool {
	t.Helper()
	_, err := s.User(t.Context(), "example.com", id)
	if err != nil && err != storage.ErrNotFound {
		t.Fatal(err)
	}
	return err == nil
}

// TestCutConnection: a connection that is lost before COMMIT makes the update run again. If it is lost during COMMIT, Update says that
// the outcome is not known, whatever it is, and does not run again.
func TestCutConnection(t *testing.T) {
	server := shared(t)
	url := database(t)
	p := startProxy(t, server)
	direct := open(t, url)
	s := open(t, strings.Replace(url, server.Folder(), p.dir, 1))
	if err := s.Update(t.Context(), addUser("warm")); err != nil {
		t.Fatal(err)
	}
	runs := 0
	update := func(id string) error {
		runs = 0
		return s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
			runs++
			return addUser(id)(ctx, tx)
		})
	}
	for _, test := range []struct {
		text       string
		answer     bool
		want       error
		runs       int
		takesPlace bool
	}{
		{"INSERTED", false, nil, 2, true}, // is in the id of the user
		{"INSERTED", true, nil, 2, true},
		{"COMMIT\x00", false, postgres.ErrOutcome, 1, false},
		{"COMMIT\x00", true, postgres.ErrOutcome, 1, true},
	} {
		id := fmt.Sprint("user ", test.text, test.answer)
		p.arm(test.text, test.answer)
		err := update(id)
		if !errors.Is(err, test.want) || runs != test.runs {
			t.Errorf("%q, answered %v: Update = %v after %d runs, want %v after %d", test.text, test.answer, err, runs, test.want, test.runs)
		}
		if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrConflict) {
			t.Errorf("Update = %v, which is an answer", err)
		}
		if got := exists(t, direct, id); got != test.takesPlace {
			t.Errorf("%q, answered %v: the user exists: %v, want %v", test.text, test.answer, got, test.takesPlace)
		}
	}
	// A read is repeated, too.
	p.arm("user-to-read", false)
	if _, err := s.User(t.Context(), "example.com", "user-to-read"); err != storage.ErrNotFound {
		t.Errorf("User = %v, want %v", err, storage.ErrNotFound)
	}
	if n := p.cuts.Load(); n != 5 {
		t.Errorf("%d connections were cut, want 5", n)
	}
}

// TestServerEnds: while the server crashes and restarts again and again, an acknowledged update is never lost, one that is refused is not
// there, and errors are no answers. Nothing is answered while the server is down.
func TestServerEnds(t *testing.T) {
	server, err := postgrestest.New("fsync=on", "full_page_writes=on")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	if _, err := postgres.Migrate(t.Context(), server.URL("postgres")); err != nil {
		t.Fatal(err)
	}
	s := open(t, server.URL("postgres"))
	var mu sync.Mutex
	var acknowledged, undone []string
	var revoked []int64
	unknown := 0
	done := make(chan struct{})
	var running sync.WaitGroup
	for i := range 4 {
		running.Go(func() {
			refused := errors.New("refused")
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				id := fmt.Sprint(i, "-", n)
				var seq int64
				err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
					r, err := tx.Revoke(ctx, storage.Revocation{Kind: storage.RevokeToken, Key: id})
					if err = errors.Join(err, addUser(id)(ctx, tx)); err == nil && n%5 == 4 {
						err = refused
					}
					seq = r.Seq
					return err
				})
				mu.Lock()
				switch {
				case err == nil:
					acknowledged, revoked = append(acknowledged, id), append(revoked, seq)
				case err == refused:
					undone = append(undone, id)
				case errors.Is(err, storage.ErrNotFound), errors.Is(err, storage.ErrConflict):
					t.Errorf("Update = %v, which is an answer", err)
				default:
					unknown++
				}
				mu.Unlock()
			}
		})
	}
	progress := func() {
		t.Helper()
		mu.Lock()
		had := len(acknowledged)
		mu.Unlock()
		for range 3000 {
			mu.Lock()
			has := len(acknowledged)
			mu.Unlock()
			if has > had+20 {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Error("no update succeeds")
	}
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT} {
		progress()
		server.Signal(signal)
		if err := s.Ping(t.Context()); err == nil {
			t.Error("Ping without a server = nil")
		}
		if _, err := s.User(t.Context(), "example.com", "x"); err == nil || err == storage.ErrNotFound {
			t.Errorf("User without a server = %v, want an error that is no answer", err)
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
	}
	progress()
	close(done)
	running.Wait()
	for _, id := range acknowledged {
		if !exists(t, s, id) {
			t.Errorf("%s was acknowledged and is lost", id)
		}
	}
	for _, id := range undone {
		if exists(t, s, id) {
			t.Errorf("%s was refused and is there", id)
		}
	}
	found, _, err := s.Revocations(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	var numbers []int64
	for _, r := range found {
		numbers = append(numbers, r.Seq)
	}
	for _, n := range revoked {
		if !slices.Contains(numbers, n) {
			t.Errorf("the revocation %d was acknowledged and is lost", n)
		}
	}
	t.Logf("%d updates were acknowledged, %d refused, %d not known", len(acknowledged), len(undone), unknown)
}

// TestTwoNodes: what races over two nodes is done once, and each of them follows the revocations of both.
func TestTwoNodes(t *testing.T) {
	url := database(t)
	nodes := []*postgres.Store{open(t, url), open(t, url)}
	at := time.Now().Truncate(time.Millisecond)
	const rounds, callers = 20, 8
	for round := range rounds {
		hash := [32]byte{byte(round)}
		grant := storage.Grant{ID: fmt.Sprint("g", round), Domain: "example.com", Gen: 1}
		if err := nodes[round%2].Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
			return errors.Join(tx.InsertCode(ctx, storage.Code{Hash: hash}), tx.InsertGrant(ctx, grant))
		}); err != nil {
			t.Fatal(err)
		}
		var spent, rotated atomic.Int64
		var racing sync.WaitGroup
		for i := range callers {
			racing.Go(func() {
				s := nodes[i%2]
				for winner, fn := range map[*atomic.Int64]func(ctx context.Context, tx storage.Tx) error{
					&spent: func(ctx context.Context, tx storage.Tx) error { return tx.SpendCode(ctx, hash, at, fmt.Sprint(i)) },
					&rotated: func(ctx context.Context, tx storage.Tx) error {
						return tx.RotateGrant(ctx, grant.ID, 1, at, at.Add(time.Hour))
					},
				} {
					switch err := s.Update(t.Context(), fn); err {
					case nil:
						winner.Add(1)
					case storage.ErrConflict:
					default:
						t.Errorf("Update = %v", err)
					}
				}
			})
		}
		racing.Wait()
		if spent.Load() != 1 || rotated.Load() != 1 {
			t.Errorf("a code was spent %d times, a grant rotated %d times, want once each", spent.Load(), rotated.Load())
		}
	}

	var done atomic.Bool
	var racing, following sync.WaitGroup
	followed := make([][]int64, 2)
	for i, s := range nodes {
		for j := range 4 {
			racing.Go(func() {
				for n := range 20 {
					err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
						_, err := tx.Revoke(ctx, storage.Revocation{Kind: storage.RevokeToken, Key: fmt.Sprint(i, j, n)})
						if err == nil && n%2 == 0 { // another statement between number and commit
							err = addUser(fmt.Sprint(i, j, n))(ctx, tx)
						}
						return err
					})
					if err != nil {
						t.Errorf("Update = %v", err)
					}
				}
			})
		}
		following.Go(func() {
			for cursor, finished := int64(0), false; !finished; {
				finished = done.Load() // then this is the last look, at all there is
				found, last, err := s.Revocations(t.Context(), cursor, 0)
				if err != nil {
					t.Error(err)
					return
				}
				for _, r := range found {
					followed[i] = append(followed[i], r.Seq)
				}
				cursor = last
			}
		})
	}
	racing.Wait()
	done.Store(true)
	following.Wait()
	if len(followed[0]) != 160 || !slices.Equal(followed[0], followed[1]) || !slices.IsSorted(followed[0]) {
		t.Errorf("the nodes followed %d and %d revocations, want the same 160", len(followed[0]), len(followed[1]))
	}
}

// TestTextOfRequests: what no row can have, such as a zero byte or text that is not UTF-8, is not found, and no error.
func TestTextOfRequests(t *testing.T) {
	s := open(t, database(t))
	for _, text := range []string{"\x00", "a\x00b", "\xff", "\x01", "'", "\xed\xa0\x80"} {
		if _, err := s.User(t.Context(), text, text); err != storage.ErrNotFound {
			t.Errorf("User(%q) = %v, want %v", text, err, storage.ErrNotFound)
		}
		if err := s.Update(t.Context(), addUser(text)); err != nil {
			t.Errorf("InsertUser(%q) = %v", text, err)
		}
		if u, err := s.User(t.Context(), "example.com", text); err != nil || u.ID != text {
			t.Errorf("User(%q) = %q, %v", text, u.ID, err)
		}
	}
}
