package forwardauth_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/imidentity/issuer/gateway"
	"github.com/imidentity/issuer/gateway/forwardauth"
)

// docs/gateway.md has every reason, with its status.
func TestReasonsDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/gateway.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Reasons\n")
	section, _, _ = strings.Cut(section, "\n## ")
	statuses := make(map[gateway.Reason]string)
	for line := range strings.Lines(section) {
		cells := strings.Split(line, " | ")
		if !strings.HasPrefix(line, "| `") || len(cells) != 3 {
			continue
		}
		for _, name := range strings.Split(strings.TrimPrefix(cells[0], "| "), ", ") {
			statuses[gateway.Reason(strings.Trim(name, "`"))] = cells[1]
		}
	}
	want := make(map[gateway.Reason]int)
	for _, r := range gateway.Reasons() {
		want[r] = r.Outcome().Status()
	}
	for _, r := range forwardauth.Reasons {
		want[r] = 403
	}
	want[forwardauth.ReasonNoIdentity] = 503
	for reason, status := range want {
		if got := statuses[reason]; got != strconv.Itoa(status) {
			t.Errorf("docs/gateway.md: the status of %s is %q, want %d", reason, got, status)
		}
		delete(statuses, reason)
	}
	for reason := range statuses {
		t.Errorf("docs/gateway.md has the reason %s, which does not exist", reason)
	}
}
