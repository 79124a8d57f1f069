package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/imidentity/issuer/internal/bucket"
)

// Limits are token buckets that several processes share, on the server of a [Replay]. A bucket that is full takes no memory. They use the
// server's clock. A loss of them makes all buckets full, and nothing worse.
type Limits struct {
	client *goredis.Client
	prefix string
}

// Limits returns the buckets under a prefix, which must not be that of a [Replay]. They end when r is closed.
func (r *Replay) Limits(prefix string) *Limits { return &Limits{r.client, prefix} }

// Take takes a token from each of the buckets, or none from any, in one round trip. If a bucket is empty, it returns which one, and the
// time until that has a token. If the error is not nil, nothing is known.
func (l *Limits) Take(ctx context.Context, buckets ...bucket.Shared) (empty int, wait time.Duration, err error) {
	answer, err := takeScript.Run(ctx, l.client, l.keys(buckets), sizes(buckets)...).Int64Slice()
	if err != nil {
		return 0, 0, fmt.Errorf("redis: take from a limit: %w", err)
	}
	if len(answer) != 2 || answer[0] < 0 || answer[0] > int64(len(buckets)) || answer[1] < 0 {
		return 0, 0, errors.New("redis: the answer of a limit is not readable")
	}
	return int(answer[0]) - 1, time.Duration(answer[1]) * time.Millisecond, nil
}

// Give gives back the tokens that Take took.
func (l *Limits) Give(ctx context.Context, buckets ...bucket.Shared) error {
	if err := giveScript.Run(ctx, l.client, l.keys(buckets), sizes(buckets)...).Err(); err != nil {
		return fmt.Errorf("redis: give back to a limit: %w", err)
	}
	return nil
}

// keys returns the keys of buckets, all in one slot of a cluster.
func (l *Limits) keys(buckets []bucket.Shared) []string {
	keys := make([]string, len(buckets))
	for i, b := range buckets {
		keys[i] = "{" + l.prefix + "}:" + b.Key
	}
	return keys
}

// sizes returns for each bucket the time of a token and that of a whole bucket, in milliseconds.
func sizes(buckets []bucket.Shared) []any {
	var args []any
	for _, b := range buckets {
		token := b.Token().Milliseconds()
		args = append(args, token, token*int64(b.Count))
	}
	return args
}

// full sets full to the time at which the bucket of key i will be full, and now to the present. What is stored is that time, as in
// package bucket.
const full = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function full(i)
	local at = math.max(tonumber(redis.call('GET', KEYS[i]) or now), now)
	return math.min(at, now + ARGV[2 * i])
end
local function put(i, at)
	if at > now then
		redis.call('SET', KEYS[i], string.format('%d', at), 'PX', string.format('%d', at - now))
	else
		redis.call('DEL', KEYS[i])
	end
end
`

var takeScript = goredis.NewScript(full + `
for i = 1, #KEYS do
	local wait = full(i) + ARGV[2 * i - 1] - now - ARGV[2 * i]
	if wait > 0 then
		return {i, wait}
	end
end
for i = 1, #KEYS do
	put(i, full(i) + ARGV[2 * i - 1])
end
return {0, 0}
`)

var giveScript = goredis.NewScript(full + `
for i = 1, #KEYS do
	put(i, full(i) - ARGV[2 * i - 1])
end
return 0
`)
