package statuslist_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/statuslist"
)

// FuzzParse parses anything, and anything that an issuer would sign. What is accepted is within the limits, and is the same when it is
// signed and parsed again.
func FuzzParse(f *testing.F) {
	s := newSigner(f, "k1", jose.ES256)
	text, err := os.ReadFile("testdata/draft-20/section-8.2-token.jwt")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(strings.TrimSpace(string(text)), []byte(nil))
	for _, claims := range []string{
		`{"exp":2291720170,"iat":1686920170,"status_list":{"bits":1,"lst":"eNrbuRgAAhcBXQ"},"sub":"https://example.com/statuslists/1","ttl":43200}`,
		`{"iss":"https://example.com","iat":1,"nbf":1,"status_list":{"bits":2,"lst":"eNo76fITAAPfAgc","aggregation_uri":"https://x/"},"sub":"x"}`,
		`{"iat":1,"status_list":{"bits":8,"lst":"eNoDAAAAAAE"},"sub":"x","ttl":0.25}`,
	} {
		f.Add("", []byte(claims))
	}
	limits := statuslist.Limits{Packed: 8 << 10, Unpacked: 64 << 10}
	f.Fuzz(func(t *testing.T, token string, claims []byte) {
		if claims != nil {
			var err error
			if token, err = s.Sign("statuslist+jwt", claims); err != nil {
				t.Fatal(err)
			}
		}
		got, err := statuslist.Parse(token, limits)
		if err != nil {
			return
		}
		if len(token) > limits.Packed || got.List.Len()*got.List.Bits()/8 > limits.Unpacked {
			t.Fatalf("a token of %d bytes with %d entries of %d bits is beyond the limits", len(token), got.List.Len(), got.List.Bits())
		}
		again, err := got.Sign(s)
		if err != nil {
			t.Fatal(err)
		}
		same, err := statuslist.Parse(again, statuslist.Limits{Packed: 1 << 20, Unpacked: limits.Unpacked})
		if err != nil {
			t.Fatal(err)
		}
		if same.Subject != got.Subject || same.Issuer != got.Issuer || !same.IssuedAt.Equal(got.IssuedAt) || !same.Expires.Equal(got.Expires) ||
			same.TTL.Truncate(1e9) != got.TTL.Truncate(1e9) || same.List.Bits() != got.List.Bits() ||
			!bytes.Equal(same.List.Compress(), got.List.Compress()) {
			t.Errorf("signed again it is %+v, not %+v", same, got)
		}
	})
}

// FuzzDecompress unpacks anything. What is accepted is within the limit, and compresses to something that unpacks to the same.
func FuzzDecompress(f *testing.F) {
	for _, v := range vectors(f) {
		if v.Bits < 8 {
			f.Add(v.compressed(f), v.Bits)
		}
	}
	f.Add(zeros(f, 0), 1)
	f.Add(zeros(f, 1<<20), 2)
	const limit = 256 << 10
	f.Fuzz(func(t *testing.T, data []byte, bits int) {
		list, err := statuslist.Decompress(bits, data, limit)
		if err != nil {
			return
		}
		if list.Len()*list.Bits()/8 > limit || list.Bits() != bits {
			t.Fatalf("%d entries of %d bits are beyond the limit", list.Len(), list.Bits())
		}
		again, err := statuslist.Decompress(bits, list.Compress(), limit)
		if err != nil {
			t.Fatal(err)
		}
		if again.Len() != list.Len() {
			t.Fatalf("%d entries, then %d", list.Len(), again.Len())
		}
		for i := range uint64(list.Len()) {
			a, errA := list.At(i)
			if b, errB := again.At(i); a != b || errA != nil || errB != nil {
				t.Fatalf("At(%d) = %v, %v, then %v, %v", i, a, errA, b, errB)
			}
		}
	})
}

// FuzzReference reads any claim. What is accepted is the same when it is written and read again.
func FuzzReference(f *testing.F) {
	f.Add([]byte(`{"status_list":{"idx":0,"uri":"https://example.com/statuslists/1"}}`))
	f.Add([]byte(`{"other":{"idx":[]},"status_list":{"uri":"https://x/\u0000\ud83d\ude00<&>","idx":18446744073709551615}}`))
	f.Fuzz(func(t *testing.T, claim []byte) {
		ref, err := statuslist.ParseReference(claim)
		if err != nil {
			return
		}
		if again, err := statuslist.ParseReference(ref.AppendJSON(nil)); err != nil || again != ref {
			t.Errorf("ParseReference(%s) = %+v, %v, want %+v", ref.AppendJSON(nil), again, err, ref)
		}
	})
}
