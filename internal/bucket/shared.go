package bucket

import "time"

// A Shared is a bucket that several processes share, in a store of their own.
type Shared struct {
	// Key names the bucket. It holds no address or name.
	Key string
	Limit
}

// Token returns the time in which one token refills, in whole milliseconds, at least one.
func (s Shared) Token() time.Duration {
	return max(time.Millisecond, (s.Period / time.Duration(s.Count)).Truncate(time.Millisecond))
}
