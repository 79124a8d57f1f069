package postgres_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/postgres"
	"github.com/imidentity/issuer/storage/postgres/postgrestest"
)

// TestOpenCut: wherever the first connection breaks, in the answers of the server or in what is sent to it, Open says that the database
// is not available now, so that a service manager may start the issuer again.
func TestOpenCut(t *testing.T) {
	server := shared(t)
	url := database(t)
	for name, limits := range map[string]func(n int64) (sent, answered int64){
		"in an answer":  func(n int64) (int64, int64) { return 1 << 30, n },
		"in a question": func(n int64) (int64, int64) { return n, 1 << 30 },
	} {
		cuts := 0
		for n := int64(0); ; n += 29 {
			sent, answered := limits(n)
			s, err := postgres.Open(t.Context(), strings.Replace(url, server.Folder(), cutAfter(t, server, sent, answered), 1),
				postgres.Options{})
			if err == nil {
				s.Close()
				break
			}
			cuts++
			if !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("%s, after %d bytes: Open = %v, want %v", name, n, err, storage.ErrUnavailable)
			}
		}
		if cuts < 10 {
			t.Errorf("%s: %d connections were cut, want at least 10", name, cuts)
		}
	}
}

// cutAfter returns the folder of a socket. Each connection to it reaches the server, and ends after so many bytes were sent or answered.
func cutAfter(t *testing.T, server *postgrestest.Server, sent, answered int64) string {
	t.Helper()
	return before(t, server, func(client net.Conn, server *postgrestest.Server) {
		up, err := server.Dial()
		if err != nil {
			client.Close()
			return
		}
		pass := func(to, from net.Conn, n int64) {
			defer client.Close()
			defer up.Close()
			_, _ = io.CopyN(to, from, n)
		}
		go pass(up, client, sent)
		pass(client, up, answered)
	})
}
