package cli_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/cli"
)

// TestFetchAsksForSoMany refuses a question with more users or authors than an issuer answers, before one is asked.
func TestFetchAsksForSoMany(t *testing.T) {
	var users, authors []string
	for i := range 101 {
		users = append(users, fmt.Sprintf("im:user%d@example.com;id-type=user", i))
	}
	for i := range 21 {
		authors = append(authors, "--by", users[i])
	}
	fetch := func(args ...string) (int, string) {
		var out bytes.Buffer
		args = append([]string{"xsign", "fetch", "--session", t.TempDir() + "/none"}, args...)
		return cli.Run(t.Context(), args, strings.NewReader(""), &out, &out, nil), out.String()
	}
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{users, 2, "at most 100 users can be asked about at a time"},
		{append(authors, users[0]), 2, "at most 20 authors can be asked about at a time"},
		{append(authors[:40], users[:100]...), 1, "there is no session"}, // these would be asked
	} {
		if code, said := fetch(test.args...); code != test.code || !strings.Contains(said, test.want) {
			t.Errorf("xsign fetch with %d arguments = %d, want %d with %q:\n%s", len(test.args), code, test.code, test.want, said)
		}
	}
}

// TestFetchStaysWithItsUsers: an answer that is about other users, or that leaves out others, so that they would be asked about next, is
// refused, and nothing of it is kept.
func TestFetchStaysWithItsUsers(t *testing.T) {
	const alice, bob = "im:alice@example.com;id-type=user", "im:bob@example.com;id-type=user"
	var answer string
	asked := 0
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	}))
	defer issuer.Close()
	for _, test := range []struct{ answer, want string }{
		{`{"users":{"` + bob + `":{}}}`, "it is about " + bob},
		{`{"users":{},"omitted":["` + bob + `"]}`, "it leaves out " + bob},
		{`{"users":{},"omitted":["` + alice + `"]}`, "it has nothing that was asked for"},
	} {
		answer, asked = test.answer, 0
		to := filepath.Join(t.TempDir(), "bundle.json")
		var out bytes.Buffer
		code := cli.Run(t.Context(), []string{"xsign", "fetch", alice, "--issuer", issuer.URL, "--client-id", "peer", "--to", to},
			strings.NewReader(""), &out, &out, []string{"PEER_SECRET=secret"})
		if code != 1 || asked != 1 || !strings.Contains(out.String(), test.want) {
			t.Errorf("%s: exit code %d after %d questions, want 1 after 1 with %q:\n%s", test.answer, code, asked, test.want, out.String())
		}
		if _, err := os.Stat(to); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the file is there: %v", test.answer, err)
		}
	}
}
