package mls_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/mls"
)

// Bytes that are parsed are written back unchanged; and an SD-JWT says the same in both of its forms, unless its text is one that cannot be
// compacted.
func FuzzParse(f *testing.F) {
	for _, folder := range []string{"accepted", "refused"} {
		for _, v := range structVectors(f, folder) {
			f.Add(v.bytes(f))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := mls.Parse(data)
		if err != nil {
			return
		}
		written, err := c.Marshal()
		if err != nil || !bytes.Equal(written, data) {
			t.Fatalf("Marshal = %x, %v, want %x", written, err, data)
		}
		if c.Type != mls.SDJWT {
			return
		}
		other := *c
		other.Compacted = !c.Compacted
		written, err = other.Marshal()
		if err != nil {
			if c.Compacted {
				t.Fatalf("Marshal = %v of what was compacted", err)
			}
			return
		}
		if again, err := mls.Parse(written); err != nil || again.JWT != c.JWT || again.Compacted != other.Compacted {
			t.Fatalf("Parse = %+v, %v, want %+v", again, err, other)
		}
	})
}

// A credential that is written is read as the same one.
func FuzzMarshal(f *testing.F) {
	f.Add(uint16(2), []byte{1}, []byte{2, 3}, "", false)
	f.Add(uint16(5), []byte{1}, []byte{}, "", false)
	f.Add(uint16(6), []byte{}, []byte{}, "YQ.Yg.Yw~ZA~ZQ.Zg.Zw", false)
	f.Add(uint16(6), []byte{}, []byte{}, "YQ.Yg.Yw~ZA~ZQ.Zg.Zw", true)
	f.Fuzz(func(t *testing.T, number uint16, one, two []byte, text string, compacted bool) {
		c := mls.Credential{Type: mls.Type(number)}
		switch c.Type {
		case mls.X509:
			c.Certificates = [][]byte{one, two}
		case mls.SDCWT:
			c.CWT = one
		case mls.SDJWT:
			c.JWT, c.Compacted = text, compacted
		}
		data, err := c.Marshal()
		if err != nil {
			return
		}
		again, err := mls.Parse(data)
		if err != nil || again.Type != c.Type || !bytes.Equal(again.CWT, c.CWT) || again.JWT != c.JWT || again.Compacted != c.Compacted ||
			len(again.Certificates) != len(c.Certificates) {
			t.Fatalf("Parse = %+v, %v, want %+v", again, err, c)
		}
		for i := range c.Certificates {
			if !bytes.Equal(again.Certificates[i], c.Certificates[i]) {
				t.Fatalf("Parse = %+v, want %+v", again, c)
			}
		}
	})
}

// Only what its holder has bound to the leaf is accepted, in either form. Everything else is refused: nothing is expired, ended or unknown.
func FuzzValidate(f *testing.F) {
	a := newAuthority(f)
	v := readLeafVector(f, "testdata/leaf/good/rfc9420-5.1.1-p256.json")
	leaf := v.leaf(f)
	c, err := mls.Parse(v.bytes(f))
	if err != nil {
		f.Fatal(err)
	}
	for _, compacted := range []bool{false, true} {
		c.Compacted = compacted
		data, err := c.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, v := range structVectors(f, "accepted") {
		f.Add(v.bytes(f))
	}
	f.Add([]byte{0, 6, 0, 0x17, 'a', '.', 'b', '.', 'c', '~', 'd', '~', 'e', '.', 'f', '.', 'g'})
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := mls.Parse(data)
		if err != nil {
			return
		}
		_, err = mls.Validate(t.Context(), got, leaf, a.options())
		if err == nil && got.JWT == c.JWT {
			return
		}
		if refused := (*credential.Error)(nil); !errors.As(err, &refused) || credential.Stands(err) {
			t.Fatalf("Validate = %v of %x", err, data)
		}
	})
}
