package interop_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// looks runs looks.mjs: every page in every language, by the keyboard, without scripts, and under axe. The pictures are in the folder
// shots beside this file.
func looks(t *testing.T, ctx context.Context, issuer string) {
	shots := "shots"
	if err := errors.Join(os.RemoveAll(shots), os.Mkdir(shots, 0o755)); err != nil {
		t.Fatal(err)
	}
	pages := t.TempDir()
	write := exec.CommandContext(ctx, "go", "test", "-count=1", "-run", "^TestHostilePages$", "./web")
	write.Dir, write.Env = "../..", append(os.Environ(), "PAGES="+pages)
	if out, err := write.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", write, err, out)
	}
	settled(t, ctx, issuer)
	cmd := node(t, ctx, "looks.mjs", map[string]string{
		"ISSUER": issuer, "CLIENT_ID": "rooms-for-friends", "DOMAIN": "example.org",
		"TEXTS": "../../web/texts", "PAGES": pages, "SHOTS": shots,
	})
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("looks.mjs: %v", err)
	}
	seen := make(map[string]bool)
	for line := range strings.Lines(string(out)) {
		seen[line] = true
		if !strings.HasSuffix(line, ": ok\n") {
			t.Errorf("%s", strings.TrimSpace(line))
		}
	}
	pageQR(t, shots, issuer)
	if want := 3 * (45 + 15); len(seen) < want {
		t.Errorf("%d pages were seen, want %d: %v", len(seen), want, slices.Sorted(maps.Keys(seen)))
	}
}
