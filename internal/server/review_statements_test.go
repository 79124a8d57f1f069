package server_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/nested"
)

var nextPage = regexp.MustCompile(`^<([^>]+)>; rel="next"$`)

// TestReviewA1PagedStatements makes as many statements as are allowed, each as large as it may be, and lists them: no page is
// larger than 50 statements of 8 KiB, and together they hold each statement once. One more is refused.
func TestReviewA1PagedStatements(t *testing.T) {
	s := start(t, map[string]string{"limits": ", statements_per_user: 120"})
	d := newDevice(t)
	alice := s.account(t, d, "alice")
	own := s.forIssuer(t, d, alice, "account").access
	var made []string
	large := []string{s.issuer}
	for i := range nested.MaxAudience - 1 {
		large = append(large, fmt.Sprintf("https://%s.example/%d", strings.Repeat("a", 60)+strings.Repeat(".a", 120), i))
	}
	for i := range 121 {
		a := s.held(t, d, own, http.MethodPost, "/me/links", object{"same_as": oldAlice, "audience": large})
		if i == 120 {
			wantError(t, a, http.StatusBadRequest, "invalid_request")
			break
		}
		if a.status != http.StatusCreated || len(a.text("token")) > nested.MaxToken {
			t.Fatalf("statement %d = %v with %d bytes, want 201 and at most %d bytes", i, a.status, len(a.text("token")), nested.MaxToken)
		}
		made = append(made, a.text("id"))
	}

	list := func(path string) (ids []string, next string) {
		a := s.held(t, d, own, http.MethodGet, path, nil)
		var page []object
		decode(t, []byte(a.body), &page)
		for _, statement := range page {
			ids = append(ids, statement["id"].(string))
		}
		if len(a.body) > 50*nested.MaxToken {
			t.Errorf("GET %s has %d bytes, want no more than 50 statements have", path, len(a.body))
		}
		if link := a.header.Get("Link"); link != "" {
			m := nextPage.FindStringSubmatch(link)
			if m == nil || !strings.HasPrefix(m[1], s.issuer+"/me/links?") {
				t.Fatalf("Link = %q", link)
			}
			next = strings.TrimPrefix(m[1], s.issuer)
		}
		return ids, next
	}
	for first, size := range map[string]int{"/me/links": 20, "/me/links?limit=50": 50, "/me/links?limit=7": 7} {
		var all []string
		for path := first; path != ""; {
			ids, next := list(path)
			if len(ids) > size || next != "" && len(ids) != size {
				t.Errorf("GET %s = %d statements, want %d", path, len(ids), size)
			}
			all, path = append(all, ids...), next
		}
		slices.Sort(all)
		slices.Sort(made)
		if !slices.Equal(all, made) {
			t.Errorf("the pages from %s hold %d statements, want the %d that were made, each once", first, len(all), len(made))
		}
	}
	if ids, next := list("/me/actors"); len(ids) != 0 || next != "" {
		t.Errorf("GET /me/actors = %v and %q, want none", ids, next)
	}
	for _, wrong := range []string{"limit=0", "limit=51", "limit=x", "cursor=x", "limit=2&limit=3"} {
		wantError(t, s.held(t, d, own, http.MethodGet, "/me/links?"+wrong, nil), http.StatusBadRequest, "invalid_request")
	}
	s.withdrawn(t, d, alice, "links", made[0])
	wantStatus(t, s.held(t, d, own, http.MethodPost, "/me/links", object{"same_as": oldAlice}), http.StatusCreated)
}

// TestReviewA1StatementSize holds that no statement is made which is too large to be opened.
func TestReviewA1StatementSize(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	own := s.forIssuer(t, d, s.account(t, d, "alice"), "account").access
	var many []string
	for i := range nested.MaxAudience + 1 {
		many = append(many, fmt.Sprintf("im:%d.example", i))
	}
	for name, audience := range map[string][]string{
		"too large": {"https://rooms.example.com/" + strings.Repeat("a", nested.MaxToken)},
		"too many":  many,
	} {
		a := s.held(t, d, own, http.MethodPost, "/me/links", object{"same_as": oldAlice, "audience": audience})
		if wantError(t, a, http.StatusBadRequest, "invalid_request"); len(a.body) > 1000 {
			t.Errorf("%s: the refusal has %d bytes", name, len(a.body))
		}
	}
}

// TestReviewA1ListsAreCounted holds that to list statements counts for the user, also when it succeeds.
func TestReviewA1ListsAreCounted(t *testing.T) {
	s := start(t, limits("off", "off", "20/1h"))
	d := newDevice(t)
	own := s.forIssuer(t, d, s.account(t, d, "alice"), "account").access
	refused := 0
	for range 30 {
		switch a := s.held(t, d, own, http.MethodGet, "/me/actors", nil); a.status {
		case http.StatusOK:
		case http.StatusTooManyRequests:
			refused++
		default:
			t.Fatalf("answer = %v", a)
		}
	}
	if refused < 10 {
		t.Errorf("%d of 30 requests were refused, want those beyond 20", refused)
	}
}
