package server_test

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"testing"
)

// TestAdminLists reads devices, statements and users page by page: whatever the size of a page, each entry comes once, in
// the order of the ids, and ended statements never do.
func TestAdminLists(t *testing.T) {
	s := start(t, nil)
	var devices, statements []string
	for range 5 {
		devices = append(devices, deviceOf(t, s.login(t, newDevice(t), "alice")).Device())
	}
	alice := deviceOf(t, s.login(t, newDevice(t), "alice")).Local()
	bobs := deviceOf(t, s.login(t, newDevice(t), "bob")).Device()
	wantStatus(t, s.operate(t, http.MethodDelete, "/admin/devices/example.com/"+devices[0], nil), http.StatusOK) // stays listed
	for i := range 7 {
		id, _ := s.attested(t, object{
			"typ": "im-member+jwt", "sub": "im:wxyz=%23%23team@wxyz.example", "member": "im:%40alice@example.com",
			"role": strconv.Itoa(i),
		})
		if i%2 == 0 {
			s.endAttested(t, "wxyz.example", id)
		} else {
			statements = append(statements, id)
		}
	}
	read := func(path string, query url.Values, limit int) (ids []string) {
		t.Helper()
		query.Set("limit", strconv.Itoa(limit))
		for range 100 {
			a := s.operate(t, http.MethodGet, path, query)
			wantStatus(t, a, http.StatusOK)
			var page []object
			decode(t, []byte(a.body), &page)
			for _, entry := range page {
				ids = append(ids, entry["id"].(string))
			}
			if len(page) < limit {
				return ids
			}
			query.Set("after", ids[len(ids)-1])
		}
		t.Fatalf("%s with pages of %d does not end: %v", path, limit, ids)
		return nil
	}
	for _, test := range []struct {
		path     string
		domain   string
		user     string
		contains []string
		count    int
	}{
		{"/admin/devices", "example.com", "", append(slices.Clone(devices), bobs), 7},
		{"/admin/devices", "example.com", alice, devices, 6},
		{"/admin/statements", "wxyz.example", "", statements, len(statements)},
		{"/admin/users", "example.com", "", []string{alice}, 2},
	} {
		for _, limit := range []int{1, 2, 3, 4, 1000} {
			query := url.Values{"domain": {test.domain}}
			if test.user != "" {
				query.Set("user", test.user)
			}
			got := read(test.path, query, limit)
			if len(got) != test.count || !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != test.count {
				t.Errorf("%s of %q in pages of %d = %v, want %d different entries in order", test.path, test.user, limit, got, test.count)
			}
			for _, id := range test.contains {
				if !slices.Contains(got, id) {
					t.Errorf("%s of %q in pages of %d = %v, want %s too", test.path, test.user, limit, got, id)
				}
			}
		}
		for _, limit := range []string{"0", "-1", "1001", "x", "1e3"} {
			a := s.operate(t, http.MethodGet, test.path, url.Values{"domain": {test.domain}, "limit": {limit}})
			wantError(t, a, http.StatusBadRequest, "invalid_request")
		}
	}
}
