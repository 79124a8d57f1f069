package introspect_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/introspect"
)

// TestClientJoins races equal questions: the issuer is asked once, and who gives up does not take the answer from the others.
func TestClientJoins(t *testing.T) {
	f := newFaultyIssuer(t, nil)
	f.reached, f.gate = make(chan bool, 100), make(chan bool)
	c, _ := f.client(t)
	ctx, giveUp := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		_, err := c.Introspect(ctx, about("token"))
		gone <- err
	}()
	<-f.reached
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if r, err := c.Introspect(t.Context(), about("token")); err != nil || !r.Answer.Active {
				t.Errorf("Introspect = %+v, %v, want active", r, err)
			}
		})
	}
	giveUp()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("Introspect = %v, want the error of the context", err)
	}
	close(f.gate)
	all.Wait()
	if n, m := f.asked(); n != 1 || m != 0 {
		t.Errorf("%d and %d requests, want 1", n, m)
	}
}

// waitFor waits until a number of questions wait.
func waitFor(t *testing.T, c *introspect.Client, n int) {
	t.Helper()
	for range 5000 {
		if c.Waiting() == n {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("%d questions wait, want %d", c.Waiting(), n)
}

// TestClientCoalesces holds that different questions that come while a request is under way go together, and each gets its own answer.
func TestClientCoalesces(t *testing.T) {
	f := newFaultyIssuer(t, nil)
	f.reached, f.gate = make(chan bool, 100), make(chan bool)
	f.item = func(token string) string { return strings.Replace(activeAnswer, `"jti":"1"`, `"jti":"`+token+`"`, 1) }
	c, _ := f.client(t, func(c *introspect.ClientConfig) { c.Parallel = 1 })
	var all sync.WaitGroup
	all.Go(func() {
		if r, err := c.Introspect(t.Context(), about("first")); err != nil || !r.Answer.Active {
			t.Errorf("Introspect = %+v, %v, want active", r, err)
		}
	})
	<-f.reached
	for i := range 30 {
		all.Go(func() {
			token := fmt.Sprint("token-", i)
			if r, err := c.Introspect(t.Context(), about(token)); err != nil || r.Answer.JTI != token {
				t.Errorf("Introspect(%s) = %+v, %v, want its own answer", token, r, err)
			}
		})
	}
	waitFor(t, c, 31)
	close(f.gate)
	all.Wait()
	if n, m := f.asked(); n != 1 || m != 1 || len(f.batches[0]) != 30 {
		t.Errorf("%d and %d requests, want one, and one for the others", n, m)
	}
}

// TestClientAll asks about a room at once: by batches of 100, about equal tokens once, in order, and each with its own trouble.
func TestClientAll(t *testing.T) {
	f := newFaultyIssuer(t, nil)
	f.item = func(token string) string {
		switch {
		case strings.HasSuffix(token, "7"):
			return `{"error":"temporarily_unavailable"}`
		case strings.HasSuffix(token, "8"):
			return inactive
		case strings.HasSuffix(token, "9"):
			return `{"active":true}`
		}
		return strings.Replace(activeAnswer, `"jti":"1"`, `"jti":"`+token+`"`, 1)
	}
	c, _ := f.client(t)
	var tokens []string
	for i := range 500 {
		tokens = append(tokens, strings.Repeat("t", 900)+fmt.Sprintf("-%03d", i))
	}
	tokens = append(tokens, tokens[3], "no token")
	all, err := c.IntrospectAll(t.Context(), tokens)
	if err != nil || len(all) != len(tokens) {
		t.Fatalf("IntrospectAll = %d results, %v, want %d", len(all), err, len(tokens))
	}
	for i, token := range tokens {
		r := all[i]
		switch token[len(token)-1] {
		case '7', '9':
			if !errors.Is(r.Err, introspect.ErrUnknown) || r.Answer.Active {
				t.Errorf("%d: %+v, want ErrUnknown", i, r)
			}
		case '8', 'n':
			if r.Err != nil || r.Answer.Active {
				t.Errorf("%d: %+v, want inactive", i, r)
			}
		default:
			if r.Err != nil || r.Answer.JTI != token {
				t.Errorf("%d: %+v, want its own answer", i, r)
			}
		}
	}
	n, m := f.asked()
	if n != 0 || m != 5 || slices.ContainsFunc(f.batches, func(b []string) bool { return len(b) != 100 }) {
		t.Errorf("%d requests about one token and %d about several, want 5 about 100", n, m)
	}
	// Again, only those are asked about of which nothing is known.
	if _, err := c.IntrospectAll(t.Context(), tokens); err != nil {
		t.Fatal(err)
	}
	if n, m := f.asked(); n != 0 || m != 6 || len(f.batches[5]) != 100 {
		t.Errorf("%d and %d requests, want one more about 100 tokens", n, m)
	}
}

// TestClientLargeTokens holds that a batch is not larger than the issuer accepts.
func TestClientLargeTokens(t *testing.T) {
	f := newFaultyIssuer(t, nil)
	c, _ := f.client(t, func(c *introspect.ClientConfig) { c.Parallel = 1 })
	var tokens []string
	for i := range 100 {
		tokens = append(tokens, strings.Repeat("<", 1000)+fmt.Sprint(i))
	}
	all, err := c.IntrospectAll(t.Context(), tokens)
	if err != nil || slices.ContainsFunc(all, func(a introspect.Asked) bool { return a.Err != nil || !a.Answer.Active }) {
		t.Fatalf("IntrospectAll = %v, want all active", err)
	}
	if n, _ := f.asked(); n != 0 {
		t.Errorf("%d requests about one token, want none", n)
	}
	for _, batch := range f.batches {
		if len(batch) > 28 {
			t.Errorf("a batch of %d tokens, want less than 256 KiB", len(batch))
		}
	}
}

// TestClientWithoutBatches asks an issuer that answers about one token at a time.
func TestClientWithoutBatches(t *testing.T) {
	f := newFaultyIssuer(t, map[string]any{"im_introspection_batch_endpoint": nil})
	c, _ := f.client(t)
	var tokens []string
	for i := range 50 {
		tokens = append(tokens, fmt.Sprint("token-", i))
	}
	all, err := c.IntrospectAll(t.Context(), tokens)
	if err != nil || slices.ContainsFunc(all, func(a introspect.Asked) bool { return a.Err != nil || !a.Answer.Active }) {
		t.Fatalf("IntrospectAll = %v, want all active", err)
	}
	if n, m := f.asked(); n != 50 || m != 0 {
		t.Errorf("%d and %d requests, want 50", n, m)
	}
}

// TestClientBound holds how many questions may wait.
func TestClientBound(t *testing.T) {
	f := newFaultyIssuer(t, nil)
	f.reached, f.gate = make(chan bool, 100), make(chan bool)
	c, _ := f.client(t, func(c *introspect.ClientConfig) { c.MaxPending, c.Parallel = 2, 1 })
	done := make(chan []introspect.Asked)
	go func() {
		all, err := c.IntrospectAll(t.Context(), []string{"one", "two", "three"})
		if err != nil {
			t.Error(err)
		}
		done <- all
	}()
	<-f.reached
	if _, err := c.Introspect(t.Context(), about("four")); !errors.Is(err, introspect.ErrUnknown) {
		t.Errorf("Introspect = %v, want ErrUnknown", err)
	}
	close(f.gate)
	if all := <-done; all[0].Err != nil || all[1].Err != nil || !errors.Is(all[2].Err, introspect.ErrUnknown) {
		t.Errorf("IntrospectAll = %+v, want ErrUnknown for the third", all)
	}
	if n := c.Waiting(); n != 0 {
		t.Errorf("%d questions wait, want none", n)
	}
}

// TestClientBrokenBatch holds that a batch whose answers cannot be told apart is no answer about any token.
func TestClientBrokenBatch(t *testing.T) {
	for name, item := range map[string]string{
		"two answers for one": activeAnswer + "," + activeAnswer,
		"none":                ``,
		"no JSON":             `{`,
		"a number":            `7`,
		"a member twice":      `{"active":false,"active":true}`,
	} {
		t.Run(name, func(t *testing.T) {
			f := newFaultyIssuer(t, nil)
			f.item = func(string) string { return item }
			c, _ := f.client(t)
			all, err := c.IntrospectAll(t.Context(), []string{"one", "two"})
			if err != nil || len(all) != 2 {
				t.Fatalf("IntrospectAll = %v, %v", all, err)
			}
			for _, r := range all {
				if !errors.Is(r.Err, introspect.ErrUnknown) || r.Answer.Active {
					t.Errorf("%+v, want ErrUnknown", r)
				}
			}
		})
	}
}
