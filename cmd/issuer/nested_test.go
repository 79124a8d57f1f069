package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestNestedExplain runs issuer nested explain on vectors: what it prints, and with which exit code it refuses.
func TestNestedExplain(t *testing.T) {
	const vectors = root + "/nested/testdata/"
	var issuers map[string]struct {
		Domains []string        `json:"domains"`
		Keys    json.RawMessage `json:"keys"`
	}
	read(t, vectors+"issuers.json", &issuers)
	dir := t.TempDir()
	var flags []string
	for issuer, peer := range issuers {
		file := filepath.Join(dir, strings.NewReplacer("/", "-", ":", "-").Replace(issuer))
		if err := os.WriteFile(file, append(append([]byte(`{"keys":`), peer.Keys...), '}'), 0o600); err != nil {
			t.Fatal(err)
		}
		flags = append(flags, "--jwks", issuer+"="+file)
		for _, domain := range peer.Domains {
			flags = append(flags, "--peer", domain+"="+issuer)
		}
	}
	for _, test := range []struct {
		vector, more string
		code         int
		want         string
	}{
		{"acts-for", "", 0, "acts for"},
		{"acts-for", "--json", 0, `"rel": "acts_for"`},
		{"acts-for", "--audience=im:elsewhere.example", 1, "does not hold"},
		{"inner-expired", "", 1, "tokens[0]: expired"},
		{"bomb", "", 1, "does not hold"},
	} {
		t.Run(test.vector+test.more, func(t *testing.T) {
			var v struct {
				Token string `json:"token"`
				Now   int64  `json:"now"`
			}
			read(t, vectors+"vectors/"+test.vector+".json", &v)
			args := append([]string{"nested", "explain", "-", "--development", "--at", time.Unix(v.Now, 0).UTC().Format(time.RFC3339)}, flags...)
			if test.more != "" {
				args = append(args, test.more)
			}
			cmd := exec.Command("issuer", args...)
			cmd.Stdin = strings.NewReader(v.Token + "\n")
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState == nil {
				t.Fatal(err)
			}
			if code := cmd.ProcessState.ExitCode(); code != test.code || !strings.Contains(string(out), test.want) {
				t.Errorf("issuer nested explain = %d\n%s\nwant %d and %q", code, out, test.code, test.want)
			}
		})
	}
}

func read(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}
