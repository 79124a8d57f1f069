package mls_test

import (
	"bytes"
	"testing"

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
