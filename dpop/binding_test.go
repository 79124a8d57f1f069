package dpop_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imidentity/issuer/dpop"
)

func TestBindingNeedsRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := dpop.Bind(t.Context(), "alice", time.Minute)
		for range 10 {
			time.Sleep(59 * time.Second)
			if err := b.Renew("alice"); err != nil {
				t.Fatalf("Renew = %v", err)
			}
		}
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if err := b.Context().Err(); err != nil {
			t.Errorf("the binding ended before its time: %v", err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := context.Cause(b.Context()); got != dpop.ErrUnproven {
			t.Errorf("Cause = %v, want %v", got, dpop.ErrUnproven)
		}
		if err := b.Renew("alice"); err != dpop.ErrUnproven {
			t.Errorf("Renew of what has ended = %v, want %v", err, dpop.ErrUnproven)
		}
	})
}

func TestBindingEnds(t *testing.T) {
	revoked := errors.New("revoked")
	for name, tt := range map[string]struct {
		end  func(b *dpop.Binding, leave context.CancelFunc)
		want error
	}{
		"by a revocation":         {func(b *dpop.Binding, _ context.CancelFunc) { b.End(revoked) }, revoked},
		"by the first cause":      {func(b *dpop.Binding, _ context.CancelFunc) { b.End(revoked); b.End(nil) }, revoked},
		"when it is closed":       {func(b *dpop.Binding, _ context.CancelFunc) { b.End(nil) }, context.Canceled},
		"with its parent":         {func(_ *dpop.Binding, leave context.CancelFunc) { leave() }, context.Canceled},
		"when another key proves": {func(b *dpop.Binding, _ context.CancelFunc) { _ = b.Renew("bob") }, dpop.ErrInvalidProof},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				parent, leave := context.WithCancel(t.Context())
				defer leave()
				b := dpop.Bind(parent, "alice", time.Minute)
				if b.JKT() != "alice" {
					t.Errorf("JKT = %q, want alice", b.JKT())
				}
				tt.end(b, leave)
				if got := context.Cause(b.Context()); !errors.Is(got, tt.want) {
					t.Errorf("Cause = %v, want %v", got, tt.want)
				}
				if err := b.Renew("alice"); !errors.Is(err, tt.want) {
					t.Errorf("Renew = %v, want %v", err, tt.want)
				}
			})
		})
	}
}

func TestWebSocketURL(t *testing.T) {
	for in, want := range map[string]string{
		"wss://chat.example/room?a=b": "https://chat.example/room",
		"WSS://chat.example:443":      "https://chat.example/",
		"ws://127.0.0.1:8080/":        "http://127.0.0.1:8080/",
		"https://chat.example/":       "", "wss:/chat": "", "wss://": "", "": "",
	} {
		if got, err := dpop.WebSocketURL(in); got != want || (err == nil) != (want != "") {
			t.Errorf("WebSocketURL(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
}
