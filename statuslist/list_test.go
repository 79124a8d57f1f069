package statuslist_test

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/imidentity/issuer/statuslist"
)

// A vector is an example of the draft: a list, and its statuses that are not VALID.
type vector struct {
	Section string
	Bits    int
	Entries int
	Status  map[string]statuslist.Status
	List    struct {
		Bits int
		Lst  string
	} `json:"status_list"`
}

func (v vector) compressed(t testing.TB) []byte {
	data, err := base64.RawURLEncoding.DecodeString(v.List.Lst)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// vectors reads the examples of draft-ietf-oauth-status-list-20.
func vectors(t testing.TB) map[string]vector {
	t.Helper()
	files, err := filepath.Glob("testdata/draft-20/*.json")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d vectors in testdata/draft-20: %v", len(files), err)
	}
	read := map[string]vector{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var v vector
		if err := json.Unmarshal(data, &v); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		read[filepath.Base(file)] = v
	}
	return read
}

// Every entry of every list of the draft is read, and the same list is made by setting its statuses.
func TestDraftVectors(t *testing.T) {
	for name, v := range vectors(t) {
		t.Run(name, func(t *testing.T) {
			if v.Bits != v.List.Bits || len(v.Status) == 0 {
				t.Fatalf("not a vector: %d bits, %d statuses", v.Bits, len(v.Status))
			}
			list, err := statuslist.Decompress(v.List.Bits, v.compressed(t), 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if list.Len() != v.Entries || list.Bits() != v.Bits {
				t.Errorf("%d entries of %d bits, want %d of %d", list.Len(), list.Bits(), v.Entries, v.Bits)
			}
			own, err := statuslist.New(v.Bits, v.Entries)
			if err != nil {
				t.Fatal(err)
			}
			for index, status := range v.Status {
				n, err := strconv.ParseUint(index, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				if err := own.Set(n, status); err != nil {
					t.Fatal(err)
				}
			}
			for i := range uint64(v.Entries) {
				want := v.Status[strconv.FormatUint(i, 10)]
				if got, err := list.At(i); got != want || err != nil {
					t.Fatalf("At(%d) = %v, %v, want %v", i, got, err, want)
				}
				if got, err := own.At(i); got != want || err != nil {
					t.Fatalf("own list: At(%d) = %v, %v, want %v", i, got, err, want)
				}
			}
			// Another compressor may choose other bytes for the same list.
			again, err := statuslist.Decompress(v.Bits, own.Compress(), 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again.Compress(), list.Compress()) {
				t.Error("the list that was made here differs from that of the draft")
			}
		})
	}
}

// A list of each number of bits behaves as an array of statuses does.
func TestSetAndAt(t *testing.T) {
	for _, bits := range []int{1, 2, 4, 8} {
		random := rand.New(rand.NewPCG(1, uint64(bits)))
		const size = 1000
		list, err := statuslist.New(bits, size)
		if err != nil {
			t.Fatal(err)
		}
		if list.Len() < size || list.Len() >= size+8/bits {
			t.Errorf("%d bits: %d entries, want %d, rounded up to a byte", bits, list.Len(), size)
		}
		var want [size]statuslist.Status
		for range 5000 {
			i, s := random.IntN(size), statuslist.Status(random.IntN(1<<bits))
			want[i] = s
			if err := list.Set(uint64(i), s); err != nil {
				t.Fatal(err)
			}
		}
		for i, s := range want {
			if got, err := list.At(uint64(i)); got != s || err != nil {
				t.Fatalf("%d bits: At(%d) = %v, %v, want %v", bits, i, got, err, s)
			}
		}
		top := statuslist.Status(1<<bits - 1)
		if err := list.Fill(top); err != nil {
			t.Fatal(err)
		}
		for i := range uint64(list.Len()) {
			if got, err := list.At(i); got != top || err != nil {
				t.Fatalf("%d bits: At(%d) = %v, %v, want %v everywhere", bits, i, got, err, top)
			}
		}
		if bits < 8 {
			if err := errors.Join(list.Set(0, top+1), list.Fill(top+1)); !errors.Is(err, statuslist.ErrBits) {
				t.Errorf("%d bits: Set and Fill of %d = %v, want %v", bits, top+1, err, statuslist.ErrBits)
			}
		}
	}
}

func TestIndexOutsideTheList(t *testing.T) {
	list, err := statuslist.New(2, 8)
	if err != nil {
		t.Fatal(err)
	}
	for _, index := range []uint64{8, 9, 1 << 32, 1<<64 - 1} {
		if _, err := list.At(index); !errors.Is(err, statuslist.ErrIndex) || !errors.Is(err, statuslist.ErrUnknown) {
			t.Errorf("At(%d) = %v, want %v", index, err, statuslist.ErrIndex)
		}
		if err := list.Set(index, statuslist.Invalid); !errors.Is(err, statuslist.ErrIndex) {
			t.Errorf("Set(%d) = %v, want %v", index, err, statuslist.ErrIndex)
		}
	}
}

func TestBitsThatNoListHas(t *testing.T) {
	for _, bits := range []int{-1, 0, 3, 5, 6, 7, 9, 16} {
		if _, err := statuslist.New(bits, 8); !errors.Is(err, statuslist.ErrBits) {
			t.Errorf("New(%d) = %v, want %v", bits, err, statuslist.ErrBits)
		}
		if _, err := statuslist.Decompress(bits, nil, 8); !errors.Is(err, statuslist.ErrBits) {
			t.Errorf("Decompress(%d) = %v, want %v", bits, err, statuslist.ErrBits)
		}
	}
}

// zeros returns n zero bytes, compressed.
func zeros(t testing.TB, n int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := zlib.NewWriterLevel(&out, zlib.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestDecompressRefuses(t *testing.T) {
	good := zeros(t, 100)
	changed := func(change func([]byte)) []byte {
		b := bytes.Clone(good)
		change(b)
		return b
	}
	for name, v := range map[string]struct {
		data  []byte
		limit int
		want  error
	}{
		"nothing":             {nil, 100, statuslist.ErrMalformed},
		"not ZLIB":            {[]byte("no list"), 100, statuslist.ErrMalformed},
		"one byte too many":   {good, 99, statuslist.ErrTooLarge},
		"a bomb":              {zeros(t, 64<<20), 1 << 20, statuslist.ErrTooLarge},
		"truncated":           {good[:len(good)-6], 100, statuslist.ErrMalformed},
		"without checksum":    {good[:len(good)-4], 100, statuslist.ErrMalformed},
		"with wrong checksum": {changed(func(b []byte) { b[len(b)-1]++ }), 100, statuslist.ErrMalformed},
		"with more behind":    {append(bytes.Clone(good), 0), 100, statuslist.ErrMalformed},
		"twice":               {append(bytes.Clone(good), good...), 200, statuslist.ErrMalformed},
	} {
		if list, err := statuslist.Decompress(1, v.data, v.limit); !errors.Is(err, v.want) {
			t.Errorf("%s: Decompress = %v, %v, want %v", name, list, err, v.want)
		}
	}
	if list, err := statuslist.Decompress(1, good, 100); err != nil || list.Len() != 800 {
		t.Errorf("Decompress at the limit = %v, %v", list, err)
	}
}
