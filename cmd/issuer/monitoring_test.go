package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// promtool runs promtool, the checker of Prometheus.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("promtool", args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s (`make setup` installs it) = %v\n%s", strings.Join(args, " "), err, out)
	}
}

var (
	alertName  = regexp.MustCompile(`(?m)^      - alert: (\w+)$`)
	metricName = regexp.MustCompile(`\bissuer_\w+`)
	metricPart = regexp.MustCompile(`_(bucket|count|sum)$`) // of a histogram
)

// knownMetrics holds that docs/metrics.md, which is held to the metrics that are served, has every metric that a text names.
func knownMetrics(t *testing.T, name, text, docs string) {
	t.Helper()
	names := metricName.FindAllString(text, -1)
	for _, m := range names {
		if m = metricPart.ReplaceAllString(m, ""); !strings.Contains(docs, "| `"+m+"` |") {
			t.Errorf("%s names %s, which docs/metrics.md does not have", name, m)
		}
	}
	if len(names) < 10 {
		t.Errorf("%s names only %d metrics", name, len(names))
	}
}

func readDoc(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestAlertRules holds the shipped alerts to the checks of Prometheus and to their tests, of which there is one for each, and to the
// documentation.
func TestAlertRules(t *testing.T) {
	t.Parallel()
	const rules, tests = "packaging/prometheus/issuer.rules.yml", "packaging/prometheus/issuer.rules.test.yml"
	promtool(t, "check", "rules", filepath.Join(root, rules))
	promtool(t, "test", "rules", filepath.Join(root, tests))
	text, tested, docs := readDoc(t, rules), readDoc(t, tests), readDoc(t, "docs/metrics.md")
	knownMetrics(t, rules, text, docs)
	alerts := alertName.FindAllStringSubmatch(text, -1)
	if len(alerts) < 10 {
		t.Errorf("%s has %d alerts", rules, len(alerts))
	}
	for _, a := range alerts {
		if !strings.Contains(tested, `{alertname="`+a[1]+`"}`) {
			t.Errorf("%s does not test that %s fires", tests, a[1])
		}
		if !strings.Contains(docs, "| `"+a[1]+"` |") {
			t.Errorf("docs/metrics.md has no row for %s", a[1])
		}
	}
}

// TestDashboard holds the shipped dashboard to metrics that exist, to expressions that Prometheus reads, and to panels that do not
// cover each other.
func TestDashboard(t *testing.T) {
	t.Parallel()
	const file = "packaging/grafana/issuer.json"
	text := readDoc(t, file)
	knownMetrics(t, file, text, readDoc(t, "docs/metrics.md"))
	var board struct {
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(text), &board); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	variables := strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*")
	rules := "groups:\n- name: dashboard\n  rules:\n"
	used, ids := make(map[[2]int]string), make(map[int]bool)
	for _, p := range board.Panels {
		if ids[p.ID] || p.Title == "" || len(p.Targets) == 0 {
			t.Errorf("panel %d %q has the id of another one, no title or no expression", p.ID, p.Title)
		}
		ids[p.ID] = true
		for i, target := range p.Targets {
			rules += fmt.Sprintf("  - {record: \"p:%d:%d\", expr: %q}\n", p.ID, i, variables.Replace(target.Expr))
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := used[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("panel %q covers %q, or is wider than the dashboard", p.Title, other)
				}
				used[[2]int{x, y}] = p.Title
			}
		}
	}
	path := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(path, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", path)
}
