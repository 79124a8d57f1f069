package interop_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/browser"
)

// deviceGrant lets openid-client log in on two screens without a browser. A person allows one of them by the app on her phone, and denies
// the other one.
func deviceGrant(t *testing.T, ctx context.Context, issuer string) {
	phone, _ := newClient(t, ctx, issuer, "im-app", "")
	tokens := logIn(t, ctx, phone, ownAccount, "login", "bob")
	own := forIssuer(t, ctx, phone, tokens.RefreshToken)
	send := func(method, path string, body any, want int) (answer map[string]any) {
		t.Helper()
		var text []byte
		if body != nil {
			var err error
			if text, err = json.Marshal(body); err != nil {
				t.Fatal(err)
			}
		}
		req, err := http.NewRequestWithContext(ctx, method, issuer+path, bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "DPoP "+own.AccessToken)
		if body != nil {
			req.Header.Set("Content-Type", "application/json")
		}
		resp, err := phone.HTTP.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != want {
			t.Fatalf("%s %s = %d %s, %v, want %d", method, path, resp.StatusCode, raw, err, want)
		}
		_ = json.Unmarshal(raw, &answer)
		return answer
	}

	screens := node(t, ctx, "device.mjs", map[string]string{"ISSUER": issuer, "CLIENT_ID": "tv", "INITIAL_TOKEN": initialToken})
	screens.Stderr = t.Output()
	out, err := screens.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := screens.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var shown struct {
		Allow, Deny, Page string
		ExpiresIn         int `json:"expires_in"`
		Interval          int
	}
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &shown) != nil {
		t.Fatalf("device.mjs printed %q, want the user codes", lines.Text())
	}
	if !strings.HasPrefix(shown.Page, issuer+"/device?user_code=") || shown.ExpiresIn != 600 || shown.Interval != 5 {
		t.Errorf("openid-client read %+v, want the page with the user code, for ten minutes and every five seconds", shown)
	}
	asks := send(http.MethodGet, "/me/device_codes?user_code="+url.QueryEscape(shown.Allow), nil, http.StatusOK)
	if asks["user_code"] != shown.Allow || asks["client_name"] != "Television app" || asks["device_name"] != "Television" {
		t.Errorf("what asks = %v, want the television", asks)
	}
	send(http.MethodPost, "/me/device_codes", map[string]any{"user_code": shown.Allow, "decision": "allow"}, http.StatusNoContent)
	send(http.MethodPost, "/me/device_codes", map[string]any{"user_code": shown.Deny, "decision": "deny"}, http.StatusNoContent)
	send(http.MethodPost, "/me/device_codes", map[string]any{"user_code": shown.Deny, "decision": "allow"}, http.StatusNotFound)
	send(http.MethodGet, "/me/device_codes?user_code=AAAA-AAAA", nil, http.StatusBadRequest)
	// The person scans the QR code with the phone, signs in there, and allows the device.
	mobile := browser.New(nil)
	done, err := mobile.Login(ctx, shown.Page, func(u *url.URL) bool { return strings.HasPrefix(u.String(), issuer+"/device/done") },
		map[string]string{"domain": "example.com", "login": "bob", "password": "bob", "decision": "allow"})
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]int{
		done.String(): http.StatusOK, issuer + "/device": http.StatusOK, issuer + "/device?user_code=BBBB-BBBB": http.StatusNotFound,
	} {
		resp, err := mobile.Client().Get(address)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("GET %s = %d, want %d", address, resp.StatusCode, want)
		}
	}
	linked := "dpop token of im:%40bob@example.com, same device after a refresh true"
	for _, want := range []string{linked, "access_denied", linked} {
		if !lines.Scan() || lines.Text() != want {
			t.Errorf("openid-client got %q, want %q", lines.Text(), want)
		}
	}
	if err := screens.Wait(); err != nil {
		t.Error(err)
	}
}
