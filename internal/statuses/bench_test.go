package statuses_test

import (
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// BenchmarkGet serves a list of which nothing changed, and one in which a session ended since.
func BenchmarkGet(b *testing.B) {
	b.Run("unchanged", func(b *testing.B) {
		w := open(b, "example.com")
		id := idOf(w.Lists, w.take("example.com"))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := w.Get(b.Context(), id); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("changed", func(b *testing.B) {
		w := open(b, "example.com")
		id := idOf(w.Lists, w.take("example.com"))
		b.ReportAllocs()
		for n := range b.N {
			w.mirror.Apply(storage.Revocation{Seq: int64(n + 1), Kind: storage.RevokeToken, Key: "jti", ExpiresAt: noon.Add(time.Hour)})
			w.at.Add(int64(5 * time.Minute)) // it is signed again
			b.StopTimer()
			w.add(0)
			b.StartTimer()
			if _, err := w.Get(b.Context(), id); err != nil {
				b.Fatal(err)
			}
		}
	})
}
