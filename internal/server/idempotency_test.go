package server_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
	"github.com/imidentity/issuer/types/api"
)

// keyed sends a request of an operator at the socket with an idempotency key.
func (s *site) keyed(t *testing.T, key, method, path, body string) answer {
	t.Helper()
	req := s.request(t, method, s.admin+path, body)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Idempotency-Key", key)
	return s.send(t, s.http, req)
}

// keptRows returns how many requests are remembered.
func (s *site) keptRows(t *testing.T) int {
	t.Helper()
	return sqlitetest.Count(t, s.database(), "SELECT count(*) FROM kept_answers")
}

const serviceBody = `{"id":"ID","auth":"secret","grants":["client_credentials"],"domains":["example.com"]}`

// TestIdempotencyKey holds that a request with a key is done once: sent again it has the first answer, without its secret; another
// request with the key is refused, and so is what comes while the first one runs. A refused request is not remembered.
func TestIdempotencyKey(t *testing.T) {
	s := start(t, withOperators())
	add := strings.Replace(serviceBody, "ID", "one", 1)
	first := s.keyed(t, `"key-1"`, http.MethodPost, "/admin/clients", add)
	wantStatus(t, first, http.StatusOK)
	secret := first.text("secret")
	if secret == "" || first.header.Get("Idempotency-Replayed") != "" {
		t.Fatalf("answer = %v, want a secret and no mark", first)
	}
	again := s.keyed(t, `"key-1"`, http.MethodPost, "/admin/clients", add)
	if again.status != http.StatusOK || again.text("id") != "one" || again.text("secret") != "" || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("second answer = %v %v, want the first without its secret, and marked", again, again.header)
	}
	if again.text("created_at") != first.text("created_at") || again.header.Get("Content-Type") != first.header.Get("Content-Type") {
		t.Errorf("second answer = %v, want that of %v", again, first)
	}
	for name, other := range map[string]answer{
		"body":   s.keyed(t, `"key-1"`, http.MethodPost, "/admin/clients", strings.Replace(serviceBody, "ID", "two", 1)),
		"path":   s.keyed(t, `"key-1"`, http.MethodPost, "/admin/keys", ""),
		"query":  s.keyed(t, `"key-1"`, http.MethodPost, "/admin/clients?x=y", add),
		"method": s.keyed(t, `"key-1"`, http.MethodDelete, "/admin/clients", add),
	} {
		if other.status != http.StatusUnprocessableEntity || other.text("error") != "invalid_request" {
			t.Errorf("another %s with the key = %v, want 422", name, other)
		}
	}
	for _, malformed := range []string{`key-1`, `"key-1`, `""`, `"a""b"`, `"ä"`, `"` + strings.Repeat("a", 256) + `"`} {
		wantError(t, s.keyed(t, malformed, http.MethodPost, "/admin/clients", add), http.StatusBadRequest, "invalid_request")
	}
	// An answer that refuses is not remembered, since nothing was done: the request is decided again.
	remembered := s.keptRows(t)
	wantError(t, s.keyed(t, `"key-2"`, http.MethodPost, "/admin/clients", add), http.StatusConflict, "client_taken")
	wantError(t, s.keyed(t, `"key-2"`, http.MethodPost, "/admin/clients", `{`), http.StatusBadRequest, "invalid_request")
	if n := s.keptRows(t); n != remembered {
		t.Errorf("%d requests are remembered after refusals, want %d", n, remembered)
	}
	// Keys belong to their callers, and are ignored where nothing changes.
	ops := s.asOperator(t, "ops")
	req := s.signedBy(t, ops, http.MethodPost, "/admin/clients", strings.Replace(serviceBody, "ID", "three", 1))
	req.Header.Set("Idempotency-Key", `"key-1"`)
	wantStatus(t, s.send(t, s.http, req), http.StatusOK)
	wantStatus(t, s.keyed(t, `"key-1"`, http.MethodGet, "/admin/keys", ""), http.StatusOK)
	// Neither key nor answer can be read in the database, and all is forgotten after a day.
	for _, row := range s.rows(t) {
		for _, hidden := range []string{"key-1", secret, `"client_credentials"]`} {
			if strings.Contains(row, "kept_answers") && strings.Contains(row, hidden) {
				t.Errorf("a row holds %q: %s", hidden, row)
			}
		}
	}
	s.advance(t, 24*time.Hour+time.Second)
	wantError(t, s.keyed(t, `"key-1"`, http.MethodPost, "/admin/clients", add), http.StatusConflict, "client_taken")
}

// TestIdempotencyRace sends one request many times at once, with one key: it is done once, and every answer is the first one, or says
// that the first is being answered.
func TestIdempotencyRace(t *testing.T) {
	s := start(t, nil)
	const racers = 16
	answers := make([]answer, racers)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i] = s.keyed(t, `"one-of-many"`, http.MethodPost, "/admin/keys?now=true", "") })
	}
	all.Wait()
	kids := make(map[string]bool)
	for _, a := range answers {
		switch {
		case a.status == http.StatusOK:
			kids[a.text("kid")] = true
		case a.status != http.StatusConflict || a.text("error") != "request_in_progress":
			t.Errorf("answer = %v, want 200, or 409 request_in_progress", a)
		}
	}
	var keys []api.Key
	decode(t, []byte(s.get(t, s.admin+"/admin/keys").body), &keys)
	if len(kids) != 1 || len(keys) != 2 {
		t.Errorf("%d keys in the answers and %d in all, want one new key", len(kids), len(keys))
	}
	a := s.keyed(t, `"one-of-many"`, http.MethodPost, "/admin/keys?now=true", "")
	if a.status != http.StatusOK || !kids[a.text("kid")] {
		t.Errorf("answer = %v, want the first one", a)
	}
}

// TestIdempotencyAnswerNotStored holds that a change whose answer cannot be stored is not told as one that did not happen, and that the
// request is not done again.
func TestIdempotencyAnswerNotStored(t *testing.T) {
	s := start(t, nil)
	add := func(id string) answer {
		return s.keyed(t, `"key-`+id+`"`, http.MethodPost, "/admin/clients", strings.Replace(serviceBody, "ID", id, 1))
	}
	added := func(id string) int {
		return sqlitetest.Count(t, s.database(), "SELECT count(*) FROM clients WHERE id = '"+id+"'")
	}
	s.faults.set("InsertClient")
	a := add("before")
	wantError(t, a, http.StatusServiceUnavailable, "temporarily_unavailable")
	if !strings.Contains(a.text("error_description"), "Nothing was changed") || added("before") != 0 {
		t.Errorf("answer = %v, want that nothing was changed", a)
	}
	s.faults.set("FillAnswer")
	a = add("after")
	wantError(t, a, http.StatusServiceUnavailable, "temporarily_unavailable")
	if text := a.text("error_description"); strings.Contains(text, "Nothing was changed") || !strings.Contains(text, "The change is stored") ||
		a.header.Get("Retry-After") == "" || added("after") != 1 {
		t.Errorf("answer = %v with %d clients, want that the change is stored", a, added("after"))
	}
	if strings.Contains(a.body, "secret") {
		t.Errorf("answer = %v, which holds a part of the lost one", a)
	}
	for _, op := range []string{"FillAnswer", ""} {
		s.faults.set(op)
		wantError(t, add("after"), http.StatusConflict, "answer_lost")
	}
	wantStatus(t, add("before"), http.StatusOK)
}

// keyedOnce is a change with an idempotency key. Whatever fails, it is done at most once, and the caller learns whether it was.
func keyedOnce(t *testing.T, s *site) []step {
	id := "service-" + strings.ToLower(strings.NewReplacer("/", "-", "#", "-").Replace(t.Name()))
	id = id[max(0, len(id)-60):]
	add := func() answer {
		return s.keyed(t, `"`+id+`"`, http.MethodPost, "/admin/clients", strings.Replace(serviceBody, "ID", id, 1))
	}
	added := func() int {
		return sqlitetest.Count(t, s.database(), "SELECT count(*) FROM clients WHERE id = '"+id+"'")
	}
	done := func(a answer) {
		if wantStatus(t, a, http.StatusOK); a.text("id") != id || added() != 1 {
			t.Errorf("answer = %v with %d clients, want one", a, added())
		}
	}
	return []step{
		{
			name: "change", ask: add, good: done,
			again: func(bool) answer {
				durable := added() == 1
				a := add()
				if a.status == http.StatusConflict && a.text("error") == "answer_lost" && durable {
					for range 1000 { // the register follows the rows
						if a := s.get(t, s.admin+"/admin/client?id="+id); a.status == http.StatusOK {
							return a
						}
						time.Sleep(5 * time.Millisecond)
					}
				}
				return a
			},
		},
		{name: "change, sent again", ask: add, good: func(a answer) {
			if a.status != http.StatusConflict || a.text("error") != "answer_lost" {
				done(a)
			}
		}},
	}
}
