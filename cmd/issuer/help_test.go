package main

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestEveryCommandHasAnExample asks for the help of each command that the program itself lists: somebody who has forgotten
// how it goes looks for a line to paste.
func TestEveryCommandHasAnExample(t *testing.T) {
	t.Parallel()
	help := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("issuer", append(args, "--help")...).Output()
		if err != nil {
			t.Fatalf("issuer %v --help = %v", args, err)
		}
		return string(out)
	}
	commands := regexp.MustCompile(`(?m)^  ([a-z]+(?: [a-z-]+)?)  `).FindAllStringSubmatch(help(), -1)
	if len(commands) < 30 {
		t.Errorf("issuer --help lists %d commands, want all", len(commands))
	}
	for _, m := range commands {
		command := "issuer " + m[1]
		if text := help(strings.Fields(m[1])...); !regexp.MustCompile(`(?m)^    ` + command + `( |$)`).MatchString(text) {
			t.Errorf("%s --help has no example:\n%s", command, text)
		}
	}
}
