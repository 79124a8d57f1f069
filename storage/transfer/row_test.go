package transfer_test

import (
	"bytes"
	"testing"

	"github.com/imidentity/issuer/storage/transfer"
)

// FuzzKey: a key that can be decoded is encoded in that very form, so that different keys have different forms.
func FuzzKey(f *testing.F) {
	for _, key := range [][]any{{}, {int64(-1)}, {"example.com", "\x00"}, {[]byte{}, nil, "", int64(1) << 62}} {
		form, err := transfer.EncodeKey(key)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(form)
		f.Add(append(form, 2))
	}
	f.Fuzz(func(t *testing.T, form []byte) {
		key, err := transfer.DecodeKey(form)
		if err != nil || len(form) == 0 {
			return
		}
		if again, err := transfer.EncodeKey(key); err != nil || !bytes.Equal(again, form) {
			t.Errorf("EncodeKey(%v) = %x, %v, want %x", key, again, err, form)
		}
	})
}

// TestSum: the sum does not depend on the order of rows, and depends on each value and its type.
func TestSum(t *testing.T) {
	sum := func(rows ...[]any) (s transfer.Sum) {
		for _, row := range rows {
			if err := s.Add(row); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	a, b := []any{"a", int64(1)}, []any{"b", nil}
	if sum(a, b) != sum(b, a) {
		t.Error("the sum depends on the order")
	}
	seen := map[transfer.Sum]int{}
	for i, rows := range [][][]any{
		nil, {a}, {a, a}, {a, b}, {{"a", "1"}}, {{[]byte("a"), int64(1)}}, {{"a", int64(1), nil}}, {{"ab", ""}}, {{"a", "b"}}, {{"", "ab"}},
		{{nil}}, {{""}}, {{[]byte{}}}, {{int64(0)}},
	} {
		if j, ok := seen[sum(rows...)]; ok {
			t.Errorf("the rows %d and %d have the same sum", i, j)
		}
		seen[sum(rows...)] = i
	}
	if err := new(transfer.Sum).Add([]any{1}); err == nil {
		t.Error("a value of an unknown type has a sum")
	}
}
