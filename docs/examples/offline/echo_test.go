package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/gateway"
)

// TestEcho holds that the middleware fits echo.
func TestEcho(t *testing.T) {
	verifier, err := newVerifier("http://127.0.0.1:1", "example.com", "im:example.com", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	guard, err := gateway.NewGuard(gateway.GuardConfig{Verifier: verifier, PublicURL: "https://api.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	watch, err := gateway.NewPolicy(gateway.PolicyConfig{Shadow: true})
	if err != nil {
		t.Fatal(err)
	}
	for policy, status := range map[*gateway.Policy]int{nil: http.StatusUnauthorized, watch: http.StatusNoContent} {
		protect, err := guard.Middleware(policy)
		if err != nil {
			t.Fatal(err)
		}
		e := echo.New()
		e.Use(echo.WrapMiddleware(protect))
		e.GET("/hello", func(c echo.Context) error {
			id, _ := gateway.FromContext(c.Request().Context())
			if id != nil {
				t.Errorf("FromContext = %+v, want nobody", id)
			}
			return c.NoContent(http.StatusNoContent)
		})
		answer := httptest.NewRecorder()
		e.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/hello", nil))
		if answer.Code != status || answer.Header().Get("DPoP-Nonce") == "" {
			t.Errorf("GET = %d %v, want %d and a nonce", answer.Code, answer.Header(), status)
		}
	}
}
