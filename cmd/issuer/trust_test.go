package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imidentity/issuer/statuslist"
)

// TestTrustExplain decides about a credential in each state: what is printed, and the exit code.
func TestTrustExplain(t *testing.T) {
	t.Parallel()
	a := newCredentialIssuer(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	key := filepath.Join(dir, "key.pem")
	file := func(index uint64, path string) string {
		text := a.credential(t, key, &statuslist.Reference{Index: index, URI: a.URL + path})
		return write(strings.ReplaceAll(path, "/", "-")+string(rune('0'+index)), text)
	}
	good := file(0, "/status/1")
	strict := write("strict.yaml", "version: 1\ndecide:\n  - {hierarchy: good, xsign: good, then: accepted}\n  - {then: quarantined}\n")
	wrong := write("wrong.yaml", "version: 1\ndecide:\n  - {then: accepted}\n")
	forged, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	forgedFile := write("forged", strings.Replace(string(forged), ".", ".AAAA", 1))
	peer := "--peer example.com=" + a.URL + " --development"
	for name, test := range map[string]struct {
		args string
		code int
		want string
	}{
		"accepted":      {good + " --no-binding " + peer, 0, "accepted: a11ce@example.com is good by hierarchy"},
		"JSON":          {good + " --no-binding --json " + peer, 0, `"outcome": "accepted"`},
		"strict policy": {good + " --no-binding --policy " + strict + " " + peer, 1, "quarantined: "},
		"expired":       {good + " --no-binding --at 2040-01-01T00:00:00Z " + peer, 1, "update_only: "},
		"ended":         {file(1, "/status/1") + " --no-binding " + peer, 1, "was ended by its own issuer"},
		"handle ended":  {file(3, "/status/1") + " --no-binding " + peer, 0, "accepted: "},
		"no list":       {file(0, "/status/2") + " --no-binding " + peer, 3, "undecided: it cannot be checked now"},
		"forged":        {forgedFile + " --no-binding " + peer, 1, "refused: it is not valid"},
		"other domain":  {good + " --no-binding --development --peer example.org=" + a.URL, 1, "foreign_domain"},
		"no nonce":      {good + " " + peer, 2, "--no-binding"},
		"wrong policy":  {good + " --no-binding --policy " + wrong + " " + peer, 2, "wrong.yaml:3: decide[0].then: accepted without a method"},
		"no policy":     {good + " --no-binding --policy " + wrong + ".none " + peer, 2, "read the policy"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("issuer", append([]string{"trust", "explain", "--credential"}, strings.Fields(test.args)...)...)
			out, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != test.code || !strings.Contains(string(out), test.want) {
				t.Errorf("issuer trust explain --credential %s: code %d, want %d with %q:\n%s", test.args, code, test.code, test.want, out)
			}
		})
	}
}
