package server_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/issuer"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
	"github.com/imidentity/issuer/storage/storagetest"
)

// A flow is what somebody does to get somewhere: requests, one after the other.
type flow struct {
	name  string
	fill  map[string]string // settings of its site
	least int               // operations that it is known to ask for
	// begin prepares a flow that has not been gone through before.
	begin func(t *testing.T, s *site) []step
}

// A step is one request of a flow.
type step struct {
	name  string
	ready func() // what must be before it is asked, whether that fails or not; may be nil
	ask   func() answer
	page  bool           // a person waits for the answer
	good  func(a answer) // holds an answer to what the flow needs to go on
	// again is what is done after a 503; nil does the same again. It is told whether an update was durable by then,
	// and returns an answer that is good.
	again func(durable bool) answer
}

// TestStoreFails lets each operation that the requests of a flow ask of the store and of the store of spent proofs fail
// in turn, whatever these are, and once each update is durable lets its answer be lost. The request is answered 503,
// nothing is half done, and when it is sent again the flow goes on: the same pushed request, code, refresh token. With
// -short it does so for a few flows.
func TestStoreFails(t *testing.T) {
	list := flows
	if short := []string{"login of a known device", "refresh", "code used by another key"}; testing.Short() {
		list = slices.DeleteFunc(slices.Clone(list), func(f flow) bool { return !slices.Contains(short, f.name) })
		if len(list) != len(short) {
			t.Fatalf("found %d of the flows %q", len(list), short)
		}
	} else {
		list = append(slices.Clone(list), rotatingKEK(t))
	}
	t.Run("each", func(t *testing.T) {
		for _, f := range list {
			t.Run(f.name, func(t *testing.T) {
				fill := maps.Clone(f.fill)
				if fill == nil {
					fill = make(map[string]string)
				}
				if fill["limits"] == "" { // a fast machine asks more often for one user than people do
					fill["limits"] = ", per_user: off, per_user_client: off"
				}
				s := start(t, fill)
				s.reading = sqlitetest.Open(t, s.database())
				t.Cleanup(s.reading.Close)
				var ops []string
				for n := 1; n == len(ops)+1 && !t.Failed(); n++ {
					t.Run(strconv.Itoa(n), func(t *testing.T) {
						if op := s.failNth(t, n, f.begin(t, s)); op != "" {
							ops = append(ops, op)
						}
					})
				}
				if len(ops) < f.least {
					t.Errorf("%d operations were asked for, want at least %d", len(ops), f.least)
				}
				t.Logf("%d operations failed in turn: %s", len(ops), strings.Join(ops, " "))
			})
		}
	})
}

// failNth goes through the steps of a flow while the nth operation that they ask for fails, and returns its name; ""
// if they ask for fewer, and all is well.
func (s *site) failNth(t *testing.T, n int, steps []step) (failed string) {
	t.Helper()
	defer s.faults.setNth(0, nil)
	count := 0
	for _, step := range steps {
		if step.ready != nil {
			s.faults.quietly(step.ready)
		}
		// Reading all rows is slow, so they are read only where an operation fails: nothing was committed in this step, and an
		// update that has begun does not show yet.
		var before []string
		if failed == "" {
			s.faults.setNth(n-count, func() { before = s.rows(t) })
		}
		a := step.ask()
		asked, done, op := s.faults.sofar()
		count += asked
		if op != "" {
			failed = op
			s.faults.setNth(0, nil)
			asked := fmt.Sprintf("%s, with %s failing", step.name, op)
			a = s.failedStep(t, asked, step, a, op, done, before)
		}
		step.good(a)
		if t.Failed() {
			t.Fatalf("%s, after %s failed", step.name, failed)
		}
	}
	s.reading.Whole(t)
	if failed != "" {
		asked.noteFailed(failed)
	}
	return failed
}

// failedStep holds the answer to a step in which an operation failed, and what is stored by then, and returns the
// answer to the next try.
func (s *site) failedStep(t *testing.T, what string, step step, a answer, op string, done int, before []string) answer {
	t.Helper()
	if op == "Epoch" && a.status != http.StatusServiceUnavailable {
		return a // no nonce could be made for the next request, which does not matter to this one
	}
	if (op == "View" || op == "SignedDocument") && a.json["active"] == true && a.json["xsign"] == nil {
		return a // the cross signing of the user is left out of an introspection while it cannot be read
	}
	if step.page {
		wantPage(t, a, http.StatusServiceUnavailable)
	} else {
		wantError(t, a, http.StatusServiceUnavailable, "temporarily_unavailable")
	}
	if strings.Contains(a.body, "fire") {
		t.Errorf("%s: answer = %v, which tells what is inside", what, a)
	}
	if changes := sqlitetest.Changes(before, s.rows(t)); done == 0 && len(changes) > 0 {
		t.Errorf("%s: nothing was committed, but rows changed:\n%s", what, strings.Join(changes, "\n"))
	}
	s.reading.Whole(t)
	if t.Failed() {
		t.Fatal(what)
	}
	if step.again != nil {
		return step.again(op == "Committed")
	}
	return step.ask()
}

// TestStartFails does the same to the first start of an issuer: it is refused, and the next one has one signing key and
// all that it needs.
func TestStartFails(t *testing.T) {
	s := start(t, nil)
	fill := maps.Clone(s.fill)
	var ops []string
	for n := 1; n == len(ops)+1; n++ {
		fill["data"] = t.TempDir()
		count := 0
		instance, err := issuer.Open(t.Context(), settings(t, fill), issuer.Options{Store: func(real storage.Store) storage.Store {
			return storagetest.Faulty{Store: real, Fail: func(op string) error {
				if op == "Close" {
					return nil
				}
				if count++; count != n {
					return nil
				}
				ops = append(ops, op)
				return errFire
			}}
		}})
		if failed := len(ops) == n; failed != errors.Is(err, errFire) {
			t.Errorf("Open = %v when these failed in turn: %q", err, ops)
		}
		if err == nil {
			if err := instance.Close(); err != nil {
				t.Errorf("Close = %v, want nil", err)
			}
		}
		again, err := issuer.Open(t.Context(), settings(t, fill), issuer.Options{})
		if err != nil {
			t.Fatalf("Open = %v after %q, want nil", err, ops)
		}
		if err := again.Close(); err != nil {
			t.Errorf("Close = %v, want nil", err)
		}
		database := filepath.Join(fill["data"], "issuer.db")
		sqlitetest.Whole(t, database)
		if n := sqlitetest.Count(t, database, "SELECT count(*) FROM signing_keys"); n != 1 {
			t.Errorf("%d signing keys after %q, want 1", n, ops)
		}
	}
	if len(ops) < 10 {
		t.Errorf("%d operations were asked for, want at least 10", len(ops))
	}
	t.Logf("%d operations failed in turn: %s", len(ops), strings.Join(ops, " "))
}

func (s *site) database() string { return filepath.Join(s.fill["data"], "issuer.db") }

func (s *site) rows(t *testing.T) []string {
	t.Helper()
	var rows []string
	if s.reading != nil {
		rows = s.reading.Rows(t)
	} else {
		rows = sqlitetest.Rows(t, s.database())
	}
	// The issuer signs heads of the audit log in the background.
	return slices.DeleteFunc(rows, func(row string) bool { return strings.HasPrefix(row, "audit_heads ") })
}
