package cli_test

import (
	"bytes"
	"fmt"
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
