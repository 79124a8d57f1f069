package mls_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/mls"
)

// A structVector is a file of testdata/struct.
type structVector struct {
	Comment string
	Hex     string

	// Of accepted ones.
	Type         uint16
	Certificates []string
	CWT          string
	JWT          string
	Compacted    bool

	// Of refused ones.
	Part string
	Code credential.Code
}

func (v structVector) bytes(t testing.TB) []byte {
	t.Helper()
	b, err := hex.DecodeString(v.Hex)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// structVectors reads the vectors of a folder.
func structVectors(t testing.TB, folder string) map[string]structVector {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata/struct", folder, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors in %s: %v", folder, err)
	}
	vectors := make(map[string]structVector, len(files))
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var v structVector
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&v); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		vectors[strings.TrimSuffix(filepath.Base(file), ".json")] = v
	}
	return vectors
}

// Accepted bytes have the content that the vector says, and are written as they were read.
func TestParse(t *testing.T) {
	for name, v := range structVectors(t, "accepted") {
		t.Run(name, func(t *testing.T) {
			data := v.bytes(t)
			c, err := mls.Parse(data)
			if err != nil {
				t.Fatalf("Parse = %v", err)
			}
			var certificates []string
			for _, one := range c.Certificates {
				certificates = append(certificates, hex.EncodeToString(one))
			}
			if uint16(c.Type) != v.Type || !slices.Equal(certificates, v.Certificates) || hex.EncodeToString(c.CWT) != v.CWT ||
				c.JWT != v.JWT || c.Compacted != v.Compacted {
				t.Errorf("Parse = %+v, want %+v", c, v)
			}
			written, err := c.Marshal()
			if err != nil || !bytes.Equal(written, data) {
				t.Errorf("Marshal = %x, %v, want %x", written, err, data)
			}
			data[len(data)-1] ^= 0xff // the credential has its own copy
			if again, err := c.Marshal(); err != nil || !bytes.Equal(again, written) {
				t.Errorf("Marshal = %x, %v after its input has changed", again, err)
			}
		})
	}
}

// Refused bytes are refused for the part and the reason that the vector says.
func TestParseRefuses(t *testing.T) {
	for name, v := range structVectors(t, "refused") {
		t.Run(name, func(t *testing.T) {
			c, err := mls.Parse(v.bytes(t))
			if c != nil {
				t.Errorf("Parse = %+v", c)
			}
			refused(t, "Parse", err, v.Part, v.Code)
		})
	}
}

// refused checks that an error is a refusal with this part and code.
func refused(t *testing.T, what string, err error, part string, code credential.Code) {
	t.Helper()
	if got := (*credential.Error)(nil); !errors.As(err, &got) || got.Part != part || got.Code != code {
		t.Errorf("%s = %v, want %s: %s", what, err, part, code)
	}
}

// No prefix of an accepted credential is one.
func TestTruncated(t *testing.T) {
	for name, v := range structVectors(t, "accepted") {
		data := v.bytes(t)
		for n := range data {
			if _, err := mls.Parse(data[:n]); !errors.Is(err, credential.CodeMalformed) && !errors.Is(err, credential.CodeNoBinding) {
				t.Errorf("%s: Parse of %d of %d bytes = %v", name, n, len(data), err)
			}
		}
	}
}

// A credential of the greatest size of each kind is read and written, and one that is larger by one byte is neither. The lengths of
// these have four bytes.
func TestSizes(t *testing.T) {
	text := func(size int) string {
		return "YQ.Yg.Yw~" + strings.Repeat("A", size-len("YQ.Yg.Yw~~ZA.ZQ.Zg")) + "~ZA.ZQ.Zg"
	}
	certificates := func(n, size int) [][]byte { return slices.Repeat([][]byte{make([]byte, size)}, n) }
	for _, c := range []struct {
		name, part string
		fits, over mls.Credential
	}{
		{"x509, each", "certificates", mls.Credential{Type: mls.X509, Certificates: certificates(4, mls.MaxCertificate)},
			mls.Credential{Type: mls.X509, Certificates: certificates(1, mls.MaxCertificate+1)}},
		{"x509, number", "certificates", mls.Credential{Type: mls.X509, Certificates: certificates(mls.MaxCertificates, 1)},
			mls.Credential{Type: mls.X509, Certificates: certificates(mls.MaxCertificates+1, 1)}},
		{"sd_cwt", "sd_kbt", mls.Credential{Type: mls.SDCWT, CWT: make([]byte, mls.MaxToken)},
			mls.Credential{Type: mls.SDCWT, CWT: make([]byte, mls.MaxToken+1)}},
		{"sd_jwt", "sd_jwt_kb", mls.Credential{Type: mls.SDJWT, JWT: text(mls.MaxToken)},
			mls.Credential{Type: mls.SDJWT, JWT: text(mls.MaxToken + 2)}},
		{"compacted sd_jwt", "sd_jwt_kb", mls.Credential{Type: mls.SDJWT, JWT: text(mls.MaxToken), Compacted: true},
			mls.Credential{Type: mls.SDJWT, JWT: text(mls.MaxToken + 2), Compacted: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			data, err := c.fits.Marshal()
			if err != nil {
				t.Fatalf("Marshal = %v", err)
			}
			if got, err := mls.Parse(data); err != nil || got.JWT != c.fits.JWT || !bytes.Equal(got.CWT, c.fits.CWT) ||
				len(got.Certificates) != len(c.fits.Certificates) {
				t.Errorf("Parse = %v", err)
			}
			_, err = c.over.Marshal()
			refused(t, "Marshal", err, c.part, credential.CodeTooLarge)
		})
	}

	// The same on the wire, where the sizes come from the sender.
	vector := func(prefix string, size int) []byte {
		b, err := hex.DecodeString(prefix)
		if err != nil {
			t.Fatal(err)
		}
		return append(append(b, 0x80|byte(size>>24), byte(size>>16), byte(size>>8), byte(size)), bytes.Repeat([]byte("A"), size)...)
	}
	for name, c := range map[string]struct {
		data []byte
		part string
	}{
		"whole":     {make([]byte, mls.MaxSize+1), ""},
		"sd_cwt":    {vector("0005", mls.MaxToken+1), "sd_kbt"},
		"sd_jwt":    {vector("000600", mls.MaxToken+1), "sd_jwt_kb"},
		"protected": {vector("000601", mls.MaxToken+1), "protected"},
		// Each part has an accepted size, but the text of all together has not.
		"sum of the compacted": {append(vector("0006010101", mls.MaxToken), "\x01S\x00\x05a.b.c"...), "sd_jwt"},
	} {
		_, err := mls.Parse(c.data)
		refused(t, name, err, c.part, credential.CodeTooLarge)
	}
}

// A credential that Parse would refuse is not written.
func TestMarshalRefuses(t *testing.T) {
	const text = "YQ.Yg.Yw~ZA~ZQ.Zg.Zw"
	for name, c := range map[string]struct {
		credential mls.Credential
		part       string
		code       credential.Code
	}{
		"zero":              {mls.Credential{}, "credential_type", credential.CodeType},
		"basic":             {mls.Credential{Type: mls.Basic, CWT: []byte("name")}, "credential_type", credential.CodeType},
		"unknown":           {mls.Credential{Type: 7}, "credential_type", credential.CodeType},
		"no certificate":    {mls.Credential{Type: mls.X509}, "certificates", credential.CodeMalformed},
		"empty certificate": {mls.Credential{Type: mls.X509, Certificates: [][]byte{{1}, {}}}, "certificates", credential.CodeMalformed},
		"no CWT":            {mls.Credential{Type: mls.SDCWT, JWT: text}, "sd_kbt", credential.CodeMalformed},
		"no JWT":            {mls.Credential{Type: mls.SDJWT}, "sd_jwt_kb", credential.CodeMalformed},
		"no key binding":    {mls.Credential{Type: mls.SDJWT, JWT: "YQ.Yg.Yw~ZA~"}, "sd_jwt_kb", credential.CodeNoBinding},
		"not canonical": {mls.Credential{Type: mls.SDJWT, JWT: strings.Replace(text, "YQ", "YR", 1), Compacted: true}, "protected",
			credential.CodeMalformed},
		"disclosure not canonical": {mls.Credential{Type: mls.SDJWT, JWT: strings.Replace(text, "ZA", "ZB", 1), Compacted: true},
			"disclosures", credential.CodeMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := c.credential.Marshal()
			if data != nil {
				t.Errorf("Marshal = %x", data)
			}
			refused(t, "Marshal", err, c.part, c.code)
		})
	}
}

// The compacted form is shorter, and says the same.
func TestCompacted(t *testing.T) {
	for name, v := range structVectors(t, "accepted") {
		c, err := mls.Parse(v.bytes(t))
		if err != nil {
			t.Fatal(err)
		}
		if c.Type != mls.SDJWT || c.Compacted {
			continue
		}
		c.Compacted = true
		data, err := c.Marshal()
		if err != nil {
			t.Fatalf("%s: Marshal = %v", name, err)
		}
		again, err := mls.Parse(data)
		if err != nil || again.JWT != c.JWT || !again.Compacted {
			t.Errorf("%s: Parse = %+v, %v, want %+v", name, again, err, c)
		}
		if plain := v.bytes(t); len(data) >= len(plain) {
			t.Errorf("%s: %d bytes compacted, %d bytes otherwise", name, len(data), len(plain))
		}
	}
}

// The names of the types are those of IANA.
func TestType(t *testing.T) {
	for number, want := range map[mls.Type]string{1: "basic", 2: "x509", 5: "sd_cwt", 6: "sd_jwt", 0x0a0a: "0x0a0a"} {
		if got := number.String(); got != want {
			t.Errorf("String of %d = %q, want %q", uint16(number), got, want)
		}
	}
}
