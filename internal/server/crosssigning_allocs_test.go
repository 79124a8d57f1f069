package server_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

// TestIntrospectDeviceAllocations holds that the cross signing of a user, which introspection tells about, costs a question about the token
// of a device nothing: it was read before.
func TestIntrospectDeviceAllocations(t *testing.T) {
	const most = 23 // one more under the race detector than without
	h := newBench(t)
	access := h.login(t, newSigner(t), url.Values{"scope": {"im:handle im:device"}}).AccessToken
	form := []byte(url.Values{"token": {access}}.Encode())
	body := bytes.NewReader(form)
	r := httptest.NewRequest(http.MethodPost, "/introspect", io.NopCloser(body))
	r.ContentLength = int64(len(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("peer", benchSecret)
	wantAllocations(t, h, r, most, func(int) { body.Reset(form) })
}
