package statuslist_test

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/statuslist"
)

// sizes are those of a list of 100,000 entries of one bit, by the share of entries that are not valid (Appendix B, Table 1, in KiB where
// the table says KB).
var sizes = []struct {
	share float64
	bytes float64
}{
	{0.0001, 81}, {0.001, 252}, {0.01, 1.4 * 1024}, {0.02, 2.3 * 1024}, {0.05, 4.5 * 1024}, {0.1, 6.9 * 1024}, {0.25, 10.2 * 1024},
	{0.5, 12.2 * 1024}, {1, 35},
}

// randomList returns a list of 100,000 entries of which a share has one of some statuses.
func randomList(t *testing.T, bits int, share float64, some ...statuslist.Status) *statuslist.List {
	t.Helper()
	list, err := statuslist.New(bits, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range uint64(list.Len()) {
		if random.Float64() < share {
			if err := list.Set(i, some[random.IntN(len(some))]); err != nil {
				t.Fatal(err)
			}
		}
	}
	return list
}

// Lists are as large as the draft says.
func TestSizesOfTheDraft(t *testing.T) {
	for _, size := range sizes {
		// The table rounds, and which entries are not valid is a matter of chance.
		if n := len(randomList(t, 1, size.share, statuslist.Invalid).Compress()); float64(n) > size.bytes*1.1+20 {
			t.Errorf("a list with %v of its entries set has %d bytes, the draft says %.0f", size.share, n, size.bytes)
		}
	}
}

// A list that is compressed in a hurry says the same and is not much larger.
func TestQuick(t *testing.T) {
	s := newSigner(t, "k1", jose.ES256)
	for _, share := range []float64{0, 0.001, 0.01, 0.1, 1} {
		list := randomList(t, 2, share, statuslist.Invalid, statuslist.Invalid, statuslist.Application)
		packed := make(map[bool]int)
		for _, quick := range []bool{false, true} {
			token := statuslist.Token{Subject: "https://id.example.net/status/7", IssuedAt: time.Unix(1800000000, 0), List: list, Quick: quick}
			text, err := token.Sign(s)
			if err != nil {
				t.Fatal(err)
			}
			got, err := statuslist.Parse(text, statuslist.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			for i := range uint64(list.Len()) {
				a, _ := list.At(i)
				if b, err := got.List.At(i); a != b || err != nil {
					t.Fatalf("share %v, quick %t: At(%d) = %v, %v, want %v", share, quick, i, b, err, a)
				}
			}
			payload, err := jose.DecodeBase64(strings.Split(text, ".")[1])
			if err != nil {
				t.Fatal(err)
			}
			var claims struct {
				List struct{ Lst string } `json:"status_list"`
			}
			if err := json.Unmarshal(payload, &claims); err != nil {
				t.Fatal(err)
			}
			packed[quick] = len(claims.List.Lst)
		}
		if packed[true] > packed[false]*3/2+50 {
			t.Errorf("share %v: %d characters, and %d in a hurry", share, packed[false], packed[true])
		}
	}
}
