package trust_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/trust"
)

// A restart forgets no pin: neither an outage nor another issuer gains by it.
func TestPinFile(t *testing.T) {
	w := newWorld(t)
	id := w.issuer("id.example", "a.example")
	w.domain("a.example", id)
	after := w.issuer("new.example", "a.example")
	cfg := trust.Config{Peers: discovered, PinFile: filepath.Join(t.TempDir(), "pins.json")}
	wantSpeaks(t, w.table(t, cfg), id, "a.example", nil)
	info, err := os.Stat(cfg.PinFile)
	if err != nil || info.Mode() != 0o600 {
		t.Fatalf("the file is %v, %v, want mode 0600", info, err)
	}

	w.host("a.example", nil)
	w.add(time.Hour)
	restarted := w.table(t, cfg)
	wantKey(t, restarted, id, nil)
	wantSpeaks(t, restarted, after, "a.example", trust.ErrForeignDomain)
	w.add(trust.DefaultPinned)
	wantSpeaks(t, w.table(t, cfg), id, "a.example", trust.ErrUnavailable)

	w.domain("a.example", after)
	wantSpeaks(t, w.table(t, cfg), after, "a.example", trust.ErrChanged)
	w.domain("a.example", after, id)
	wantSpeaks(t, w.table(t, cfg), after, "a.example", trust.ErrChanged)
	w.add(trust.DefaultOverlap)
	wantSpeaks(t, w.table(t, cfg), after, "a.example", nil) // the time of the overlap went on, too
	w.domain("a.example", after)
	wantSpeaks(t, w.table(t, cfg), after, "a.example", nil)

	// What is forgotten stays forgotten, and a domain that is discovered no more loses its pin.
	table := w.table(t, cfg)
	if err := table.Forget("a.example"); err != nil {
		t.Fatal(err)
	}
	w.domain("a.example", id)
	wantSpeaks(t, w.table(t, cfg), id, "a.example", nil)
}

// An old table writes nothing after a new one has taken over.
func TestPinFileOfTwoTables(t *testing.T) {
	w := newWorld(t)
	id := w.issuer("id.example", "a.example")
	w.domain("a.example", id)
	cfg := trust.Config{Peers: discovered, PinFile: filepath.Join(t.TempDir(), "pins.json")}
	first := w.table(t, cfg)
	wantSpeaks(t, first, id, "a.example", nil)
	cfg.Previous = first
	second := w.table(t, cfg)
	if err := second.Forget("a.example"); err != nil {
		t.Fatal(err)
	}
	w.add(time.Hour)
	wantSpeaks(t, first, id, "a.example", nil) // a request that is still under way
	after := w.issuer("new.example", "a.example")
	w.domain("a.example", after)
	cfg.Previous = nil
	wantSpeaks(t, w.table(t, cfg), after, "a.example", nil)
}

// A file that cannot be read stops the start: without pins any issuer would be believed.
func TestPinFileIsChecked(t *testing.T) {
	const good = `{"domain":"a.example","confirmed":"2026-05-01T12:00:00Z","established":true,"issuers":[{"issuer":"https://id.example","named":true,"pinned":true}]}`
	for name, text := range map[string]string{
		"not JSON":                  "pins",
		"cut off":                   "[" + good,
		"an object":                 good,
		"domain not canonical":      "[" + strings.Replace(good, "a.example", "A.example", 1) + "]",
		"no domain":                 "[" + strings.Replace(good, "a.example", "a b", 1) + "]",
		"issuer not a URL":          "[" + strings.Replace(good, "https://id.example", "id.example", 1) + "]",
		"issuer with a query":       "[" + strings.Replace(good, "https://id.example", "https://id.example?", 1) + "]",
		"a pin of nobody confirmed": "[" + strings.Replace(good, `"established":true`, `"established":false`, 1) + "]",
	} {
		file := filepath.Join(t.TempDir(), "pins.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := trust.NewTable(trust.Config{Peers: discovered, PinFile: file, Development: true})
		if err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: NewTable = %v, want an error that names the file", name, err)
		}
		if err := os.WriteFile(file, []byte("["+good+"]"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := trust.NewTable(trust.Config{Peers: discovered, PinFile: file, Development: true}); err != nil {
			t.Errorf("NewTable = %v", err)
		}
	}
	if _, err := trust.NewTable(trust.Config{Peers: discovered, PinFile: t.TempDir(), Development: true}); err == nil {
		t.Error("NewTable with a folder = nil, want an error")
	}
}

// Pins that cannot be written are told, and hold as long as the table.
func TestPinFileCannotBeWritten(t *testing.T) {
	w := newWorld(t)
	id := w.issuer("id.example", "a.example")
	w.domain("a.example", id)
	var log bytes.Buffer
	table := w.table(t, trust.Config{
		Peers: discovered, PinFile: filepath.Join(t.TempDir(), "missing", "pins.json"), Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	wantSpeaks(t, table, id, "a.example", nil)
	if !strings.Contains(log.String(), "not stored") {
		t.Errorf("the failure is not logged: %s", &log)
	}
	w.domain("a.example", w.issuer("new.example", "a.example"))
	w.add(time.Hour)
	if err := table.Speaks(t.Context(), "https://new.example", "a.example"); !errors.Is(err, trust.ErrChanged) {
		t.Errorf("Speaks = %v, want %v", err, trust.ErrChanged)
	}
}
