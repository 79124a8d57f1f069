package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// shells are how an interactive shell begins with nothing of its own, and loads a completion script. Each has a command
// issuer that only prints its arguments.
var shells = map[string]struct{ command, load string }{
	"bash": {"bash --norc --noprofile -i", `PS1=; source %s; issuer() { printf 'GOT'; printf '<%%s>' "$@"; echo; }`},
	"zsh":  {"zsh -f -i", `PS1=; autoload -U compinit; compinit -u -D; source %s; issuer() { printf 'GOT'; printf '<%%s>' "$@"; echo; }`},
}

var got = regexp.MustCompile(`(?m)^.*GOT(<.*>)\r?$`)

// typed types the lines of a file into a shell on a terminal, <TAB> as that key, and prints the arguments of each issuer
// that it then ran.
func typed(ts *testscript.TestScript, shell, completion, file string) error {
	how, ok := shells[shell]
	if !ok {
		return fmt.Errorf("no such shell: %s", shell)
	}
	var keys strings.Builder
	fmt.Fprintf(&keys, how.load+"\n", completion)
	keys.WriteString(strings.ReplaceAll(ts.ReadFile(file), "<TAB>", "\t"))
	keys.WriteString("exit\n")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // of what hangs
	defer cancel()
	cmd := exec.CommandContext(ctx, "script", "--quiet", "--return", "--command", how.command, "/dev/null")
	cmd.Dir, cmd.Stdin = ts.MkAbs("."), strings.NewReader(keys.String())
	cmd.Env = []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + cmd.Dir, "TERM=dumb", "LC_ALL=C.UTF-8", "COLUMNS=200"}
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", shell, err, out)
	}
	lines := bytes.Count([]byte(keys.String()), []byte("\n")) - 2
	ran := got.FindAllSubmatch(out, -1)
	for _, m := range ran {
		fmt.Fprintf(ts.Stdout(), "%s\n", m[1])
	}
	if len(ran) != lines {
		return fmt.Errorf("%s ran %d commands of %d lines:\n%s", shell, len(ran), lines, out)
	}
	return nil
}
