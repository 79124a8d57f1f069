package redis_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/imidentity/issuer/internal/bucket"
	"github.com/imidentity/issuer/storage/redis"
)

func shared(name string, count int, period time.Duration) bucket.Shared {
	return bucket.Shared{Key: name, Limit: bucket.Limit{Count: count, Period: period}}
}

// TestSharedLimits holds that several processes take no more tokens than a bucket has, in turn and at once, from one bucket and from two.
func TestSharedLimits(t *testing.T) {
	server := startServer(t)
	var nodes []*redis.Limits
	for range 3 {
		nodes = append(nodes, open(t, server.url(), redis.Options{}).Limits("limits"))
	}
	small, large := shared("small", 5, 24*time.Hour), shared("large", 7, 48*time.Hour)
	var taken, refused atomic.Int64
	var all sync.WaitGroup
	for i := range 30 {
		all.Go(func() {
			empty, wait, err := nodes[i%3].Take(t.Context(), large, small)
			switch {
			case err != nil:
				t.Errorf("Take = %v", err)
			case empty == -1 && wait == 0:
				taken.Add(1)
			case empty == 1 && wait > 0 && wait <= small.Token():
				refused.Add(1)
			default:
				t.Errorf("Take = bucket %d, wait %v", empty, wait)
			}
		})
	}
	all.Wait()
	if taken.Load() != 5 || refused.Load() != 25 {
		t.Errorf("%d tokens were taken and %d refused, want 5 and 25", taken.Load(), refused.Load())
	}
	for range 2 { // a refusal took nothing from the larger one
		if empty, wait, err := nodes[0].Take(t.Context(), large); empty != -1 || wait != 0 || err != nil {
			t.Errorf("Take = %d, %v, %v, want a token", empty, wait, err)
		}
	}
	if empty, _, err := nodes[1].Take(t.Context(), large); empty != 0 || err != nil {
		t.Errorf("Take = %d, %v, want that the bucket is empty", empty, err)
	}
	if err := nodes[2].Give(t.Context(), small); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{-1, 0} {
		if empty, _, err := nodes[1].Take(t.Context(), small); empty != want || err != nil {
			t.Errorf("Take after Give = %d, %v, want %d", empty, err, want)
		}
	}
	// A smaller limit counts at once.
	if empty, wait, err := nodes[0].Take(t.Context(), shared("large", 1, time.Hour)); empty != 0 || wait > time.Hour || err != nil {
		t.Errorf("Take = %d, %v, %v, want a wait of at most an hour", empty, wait, err)
	}
}

// TestSharedLimitsExpire holds that a bucket is no longer stored when it is full, and never holds more than it may.
func TestSharedLimitsExpire(t *testing.T) {
	server := startServer(t)
	limits := open(t, server.url(), redis.Options{}).Limits("limits")
	b := shared("brief", 100, 100*time.Millisecond)
	if _, _, err := limits.Take(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	client := goredis.NewClient(&goredis.Options{Network: "unix", Addr: server.socket})
	defer client.Close()
	keys := func(pattern string) int {
		n, err := client.Keys(t.Context(), pattern).Result()
		if err != nil {
			t.Fatal(err)
		}
		return len(n)
	}
	for n := 0; keys("*brief") > 0; n++ {
		if n > 10000 {
			t.Fatal("a full bucket stays stored")
		}
		time.Sleep(time.Millisecond)
	}
	for range 3 {
		if err := limits.Give(t.Context(), shared("given", 2, time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if keys("*given") != 0 {
		t.Error("a bucket holds more than it may")
	}
	for i := range 50 {
		if _, _, err := limits.Take(t.Context(), shared(fmt.Sprint("key", i), 1, time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if n := keys("{limits}:key*"); n != 50 {
		t.Errorf("%d keys are stored, want 50", n)
	}
}

func TestSharedLimitsWithoutServer(t *testing.T) {
	server := startServer(t)
	limits := open(t, server.url(), redis.Options{}).Limits("limits")
	server.stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, _, err := limits.Take(ctx, shared("a", 1, time.Hour))
	if err == nil || !strings.HasPrefix(err.Error(), "redis: take from a limit: ") || limits.Give(ctx, shared("a", 1, time.Hour)) == nil {
		t.Errorf("Take = %v, want an error", err)
	}
}

func BenchmarkTakeShared(b *testing.B) {
	limits := open(b, startServer(b).url(), redis.Options{}).Limits("limits")
	one := shared("one", 1000000, time.Hour)
	for b.Loop() {
		if _, _, err := limits.Take(b.Context(), one); err != nil {
			b.Fatal(err)
		}
	}
}
