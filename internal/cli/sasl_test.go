package cli_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/imidentity/issuer/internal/cli"
)

// TestSASLHelperOutage checks that the helper decides nothing if the issuer gives no usable answer, and sends the token nowhere else.
func TestSASLHelperOutage(t *testing.T) {
	var strays atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		strays.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"active":false}`)
	}))
	defer elsewhere.Close()
	answer := func(status int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	const asJSON = "application/json"
	for name, introspect := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		},
		"too many requests": answer(http.StatusTooManyRequests, asJSON, `{"error":"temporarily_unavailable"}`),
		"unavailable":       answer(http.StatusServiceUnavailable, asJSON, `{"error":"temporarily_unavailable"}`),
		"not this client":   answer(http.StatusUnauthorized, asJSON, `{"error":"invalid_client"}`),
		"bad request":       answer(http.StatusBadRequest, asJSON, `{"error":"invalid_request"}`),
		"a page":            answer(http.StatusOK, "text/html", `{"active":false}`),
		"no JSON":           answer(http.StatusOK, asJSON, `{"active":fal`),
		"no verdict":        answer(http.StatusOK, asJSON, `{}`),
		"too long":          answer(http.StatusOK, asJSON, `{"active":true,"x":"`+strings.Repeat("x", 2<<20)+`"}`),
		"hangs up":          func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			mux := http.NewServeMux()
			issuer := httptest.NewServer(mux)
			defer issuer.Close()
			mux.HandleFunc("/.well-known/oauth-authorization-server", answer(http.StatusOK, asJSON,
				fmt.Sprintf(`{"issuer":%q,"introspection_endpoint":%q}`, issuer.URL, issuer.URL+"/introspect")))
			mux.HandleFunc("/introspect", introspect)
			if got := askHelper(t, issuer.URL); got.Result != "unknown" || got.Condition != "temporary-auth-failure" {
				t.Errorf("verify = %+v, want unknown and temporary-auth-failure", got)
			}
		})
	}
	for name, metadata := range map[string]string{
		"another issuer": `{"issuer":"https://other.example.com","introspection_endpoint":"https://other.example.com/introspect"}`,
		"no endpoint":    `{"issuer":"ISSUER"}`,
		"plain http":     `{"issuer":"ISSUER","introspection_endpoint":"http://id.example.com/introspect"}`,
	} {
		t.Run(name, func(t *testing.T) {
			mux := http.NewServeMux()
			issuer := httptest.NewServer(mux)
			defer issuer.Close()
			mux.HandleFunc("/.well-known/oauth-authorization-server", answer(http.StatusOK, asJSON,
				strings.ReplaceAll(metadata, "ISSUER", issuer.URL)))
			if got := askHelper(t, issuer.URL); got.Result != "unknown" {
				t.Errorf("verify = %+v, want unknown", got)
			}
		})
	}
	if n := strays.Load(); n > 0 {
		t.Errorf("the token was sent elsewhere %d times", n)
	}
}

type helperAnswer struct{ Result, Nonce, Condition string }

// askHelper runs the command for one exchange with a token, and returns the answer.
func askHelper(t *testing.T, issuer string) helperAnswer {
	t.Helper()
	requests, in := io.Pipe()
	out, answers := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		args := []string{"sasl-helper", "--domain", "example.com", "--issuer", issuer, "--client-id", "xmpp"}
		ended <- cli.Run(context.Background(), args, requests, answers, io.Discard, []string{"PEER_SECRET=secret"})
		_ = answers.Close()
	}()
	lines := bufio.NewScanner(out)
	ask := func(format string, args ...any) (a helperAnswer) {
		t.Helper()
		if _, err := fmt.Fprintf(in, format+"\n", args...); err != nil {
			t.Fatal(err)
		}
		if !lines.Scan() || json.Unmarshal(lines.Bytes(), &a) != nil {
			t.Fatalf("answer = %q, %v", lines.Text(), lines.Err())
		}
		return a
	}
	begun := ask(`{"v":1,"id":"1","op":"start"}`)
	got := ask(`{"v":1,"id":"2","op":"verify","nonce":%q,"token":"a.b.c","presentation":"d.e.f"}`, begun.Nonce)
	_ = in.Close()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d at the end of the input, want 0", code)
	}
	return got
}
