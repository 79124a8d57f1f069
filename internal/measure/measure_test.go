package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestMain is also the processes that the command starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains([]string{floorArgument, sweepingArgument, heapArgument}, os.Args[1]) {
		main()
		return
	}
	if len(os.Args) == 4 && os.Args[1] == "gateway" { // in place of the issuer's command, so that nothing has to be built
		os.Args = []string{os.Args[0], heapArgument, os.Args[3]}
		main()
		return
	}
	os.Exit(m.Run())
}

// TestRun measures one short round of everything: each work must be answered as it should, and have a line in the report.
func TestRun(t *testing.T) {
	var out bytes.Buffer
	args := []string{"-rounds", "1", "-window", "1ms", "-starts", "1", "-json", "-dir", t.TempDir()}
	if err := run(t.Context(), args, os.Stdin, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Rounds int
		Rows   []struct {
			Work string
			Cost spread
			Goal float64
			Met  *bool
		}
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v: %s", err, out.Bytes())
	}
	if got.Rounds != 1 {
		t.Errorf("rounds = %d, want 1", got.Rounds)
	}
	rows := make(map[string]bool)
	for _, r := range got.Rows {
		rows[r.Work] = true
		// H is a difference of two measurements, and so short ones can differ by more than it.
		if r.Cost.Median <= 0 && !strings.HasPrefix(r.Work, "H: ") {
			t.Errorf("%s: cost = %v, want more than nothing", r.Work, r.Cost.Median)
		}
		if (r.Goal > 0) != (r.Met != nil) {
			t.Errorf("%s: goal = %v, met = %v, want both or none", r.Work, r.Goal, r.Met)
		}
	}
	for _, w := range works() {
		if !rows[w.name] {
			t.Errorf("no row for %s", w.name)
		}
	}
	for _, name := range []string{"refresh, 1 caller, median latency", "durable commits of a login", "start until ready, small database"} {
		if !rows[name] {
			t.Errorf("no row for %s", name)
		}
	}
}

// TestRunScale measures a small database of each kind. No record takes no space.
func TestRunScale(t *testing.T) {
	for name, more := range map[string][]string{"SQLite": nil, "PostgreSQL": {"-postgres"}} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			args := append([]string{"-scale", "1000", "-rounds", "1", "-window", "20ms", "-dir", t.TempDir()}, more...)
			if err := run(t.Context(), args, os.Stdin, &out, io.Discard); err != nil {
				t.Fatal(err)
			}
			for _, work := range []string{
				"start until ready, 1000 users, cold", "the ratio of both", "longest wait", "100 of 1000 sessions", "GET /admin/devices",
				"introspect, token seen, 1000 live revocations", "| a user, with two names", "| a device", "| a session", "| a revocation",
			} {
				if !strings.Contains(out.String(), work) {
					t.Errorf("no row for %s in\n%s", work, out.String())
				}
			}
			if strings.Contains(out.String(), "0.00 bytes") {
				t.Errorf("a record without a size in\n%s", out.String())
			}
		})
	}
}

// TestRunStores compares the databases for a moment.
func TestRunStores(t *testing.T) {
	var out bytes.Buffer
	args := []string{"-stores", "-rounds", "1", "-window", "1ms", "-dir", t.TempDir()}
	if err := run(t.Context(), args, os.Stdin, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, work := range []string{"refresh, SQLite, 1 caller ", "refresh, SQLite, 32 callers", "refresh, PostgreSQL, 8 callers"} {
		if !strings.Contains(out.String(), work) {
			t.Errorf("no row for %s in\n%s", work, out.String())
		}
	}
}

// TestRunGateway measures a gateway for a moment.
func TestRunGateway(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	args := []string{"-gateway", "-binary", self, "-rounds", "1", "-window", "1ms", "-dir", t.TempDir()}
	if err := run(t.Context(), args, os.Stdin, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, work := range []string{
		"| gateway, token seen  ", "| gateway, token seen, key seen often", "| gateway, first sight", "H: a bare exchange, as gateway, first sight",
		"heap in use after a collection", "the same at 30 s", "the difference",
	} {
		if !strings.Contains(out.String(), work) {
			t.Errorf("no row for %s in\n%s", work, out.String())
		}
	}
}

// TestRunRefused holds the command to saying why an issuer does not start.
func TestRunRefused(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "issuer")
	if err := os.WriteFile(binary, []byte("#!/bin/sh\necho no such setting >&2\nexit 2\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	err := run(t.Context(), []string{"-binary", binary, "-dir", t.TempDir()}, os.Stdin, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "ended before it was ready") || !strings.Contains(err.Error(), "no such setting") {
		t.Errorf("error = %v, want the end of the process, and its last words", err)
	}
}

func TestParse(t *testing.T) {
	o, err := parse([]string{"-quick", "-only", "^refresh"}, io.Discard)
	if err != nil || o.rounds != 7 || o.starts != 5 || !o.only.MatchString("refresh, 1 caller") || o.only.MatchString("a refresh") {
		t.Errorf("parse = %+v, %v", o, err)
	}
	for args, want := range map[string]string{
		"-rounds 0":         "-rounds must be",
		"-window 0s":        "-window must be",
		"-starts -1":        "-starts must",
		"-only (":           "-only: error parsing regexp",
		"-gateway -scale 9": "-gateway goes neither",
		"-stores -scale 9":  "-stores goes with none of",
		"-postgres":         "-postgres goes with -scale only",
		"now":               `unexpected argument "now"`,
		"-rounds many":      "invalid value",
		"-speed":            "not defined",
	} {
		var says strings.Builder
		if _, err := parse(strings.Fields(args), &says); !errors.Is(err, errUsage) || !strings.Contains(says.String(), want) {
			t.Errorf("parse(%s) = %v, says %q, want %q", args, err, says.String(), want)
		}
	}
	if _, err := parse([]string{"-h"}, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("parse(-h) = %v, want help", err)
	}
}

func TestStatistics(t *testing.T) {
	for _, test := range []struct {
		values             []float64
		median, low, third float64
	}{
		{[]float64{3}, 3, 3, 3},
		{[]float64{4, 2}, 3, 2.5, 3.5},
		{[]float64{9, 1, 5}, 5, 3, 7},
		{[]float64{5, 1, 4, 2, 3}, 3, 2, 4},
	} {
		got := spreadOf(test.values)
		if want := (spread{test.median, test.low, test.third}); got != want {
			t.Errorf("spread of %v = %v, want %v", test.values, got, want)
		}
	}
	if got := median([]time.Duration{1, 2, 3, 10}); got != 2.5 {
		t.Errorf("median = %v, want 2.5", got)
	}
	if got := median([]float64(nil)); !math.IsNaN(got) {
		t.Errorf("median of nothing = %v, want NaN", got)
	}
	values := []float64{3, 1, 2}
	if median(values); values[0] != 3 {
		t.Errorf("values = %v, want them in their order", values)
	}
}

func TestParseSchedstat(t *testing.T) {
	if got, err := parseSchedstat("1234567 89 10\n"); err != nil || got != 1234567 {
		t.Errorf("parseSchedstat = %v, %v, want 1.234567ms", got, err)
	}
	for _, line := range []string{"", "1 2", "1 2 3 4", "x 2 3", "-1 2 3"} {
		if got, err := parseSchedstat(line); err == nil {
			t.Errorf("parseSchedstat(%q) = %v, want an error", line, got)
		}
	}
}

// TestConn reads answers as servers write them, and refuses what it cannot read.
func TestConn(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/echo":
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			_, _ = w.Write(body)
		case "/flushed": // in chunks
			w.(http.Flusher).Flush()
		default:
			http.Error(w, "no such thing", http.StatusNotFound)
		}
	}))
	defer server.Close()
	conns := pool{addr: server.Listener.Addr().String()}
	defer conns.close()
	for i := range 3 {
		list, err := conns.take(t.Context(), 2)
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Repeat("a", 5000*i)
		body, err := list[1].do(fmt.Appendf(nil, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(want), want))
		if err != nil || string(body) != want {
			t.Errorf("answer of %d bytes, %v, want %d", len(body), err, len(want))
		}
	}
	list, err := conns.take(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	_, err = list[0].do([]byte("GET /other HTTP/1.1\r\nHost: x\r\n\r\n"))
	if err == nil || !strings.Contains(err.Error(), "GET /other HTTP/1.1: 404 no such thing") {
		t.Errorf("error = %v, want the status and the body", err)
	}
	if _, err = list[0].do([]byte("GET /flushed HTTP/1.1\r\nHost: x\r\n\r\n")); err == nil {
		t.Error("an answer in chunks was read, want an error")
	}
}

// TestShare runs each operation once, and stops at an error.
func TestShare(t *testing.T) {
	done := make([]int, 100)
	if err := share(make([]*conn, 4), len(done), func(_ *conn, i int) error { done[i]++; return nil }); err != nil {
		t.Fatal(err)
	}
	for i, n := range done {
		if n != 1 {
			t.Fatalf("operation %d ran %d times", i, n)
		}
	}
	broken := errors.New("broken")
	if err := share(make([]*conn, 1), 10, func(_ *conn, i int) error {
		if i == 3 {
			return broken
		}
		if i > 3 {
			t.Errorf("operation %d ran after the error", i)
		}
		return nil
	}); !errors.Is(err, broken) {
		t.Errorf("error = %v, want that of the operation", err)
	}
}

// TestWindow repeats a window that the server refuses because it is busy, and no other one.
func TestWindow(t *testing.T) {
	for _, test := range []struct {
		status, times, want int
	}{{503, 1, 2}, {400, 1, 1}} {
		windows := 0
		s := &series{name: "work", pid: os.Getpid(), n: 1, prepare: func(context.Context, int) (action, error) {
			windows++
			return func(context.Context) ([]float64, error) {
				if windows <= test.times {
					return nil, &statusError{status: test.status}
				}
				return []float64{1}, nil
			}, nil
		}}
		_, _, err := s.window(t.Context())
		if windows != test.want || (err == nil) != (test.status == 503) {
			t.Errorf("after %d: %d windows, %v, want %d", test.status, windows, err, test.want)
		}
	}
}

// TestRow subtracts the floors of the same round and divides by the verification of that round.
func TestRow(t *testing.T) {
	w := &work{
		name: "a work", verify: 1, sign: 1, exchanges: true, goal: 1.5,
		cost: []*series{{cpu: []float64{180, 400, 190}}, {cpu: []float64{90, 100, 95}}},
		bare: &series{cpu: []float64{80, 200, 90}}, // with its signatures
	}
	r := w.row([]float64{50, 100, 50}, []float64{10, 60, 20})
	if r.Over.Median != 2 || r.Ratio != 2 || r.Floor != "V + S + H" { // each round is 2 V above the floor
		t.Errorf("row = %+v", r)
	}
	if met, ok := r.met(); met || !ok {
		t.Errorf("met = %v, %v, want a goal that is missed", met, ok)
	}
	var text strings.Builder
	if err := (report{Rows: []row{r, {Work: "a start", Unit: "ms", Cost: spread{40, 39.5, 123.4},
		Goal: 50}}}).writeText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| a work  | 190 µs  | 185 to 295       | V + S + H | 2.00 V         | 1.50 V  | no   | 2.000 |\n",
		"| a start | 40.0 ms | 39.5 to 123      |           |                | 50.0 ms | yes  |       |\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the table lacks\n%sit is\n%s", want, text.String())
		}
	}
	text.Reset()
	if err := (report{Rows: []row{{Work: "one", Unit: "MB", Cost: spread{3, 3, 3}}}}).writeText(&text); err != nil {
		t.Fatal(err)
	}
	if want := "| work | cost    |\n|------|---------|\n| one  | 3.00 MB |\n"; !strings.HasSuffix(text.String(), want) {
		t.Errorf("the table is\n%swant no empty columns:\n%s", text.String(), want)
	}
}
