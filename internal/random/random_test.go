package random_test

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/imidentity/issuer/internal/random"
)

func TestText(t *testing.T) {
	if got, err := random.Text(strings.NewReader("\xff\xfe\xfd\xfc rest"), 4); got != "__79_A" || err != nil {
		t.Errorf("Text = %q, %v, want all bytes in base64url", got, err)
	}
	seen := make(map[string]bool)
	for range 100 {
		got, err := random.Text(rand.Reader, 32)
		if raw, _ := base64.RawURLEncoding.DecodeString(got); err != nil || len(raw) != 32 || seen[got] {
			t.Errorf("Text = %q, %v, want 32 new bytes", got, err)
		}
		seen[got] = true
	}
}

// TestTextFails checks that a source which fails or ends early never yields a shorter text.
func TestTextFails(t *testing.T) {
	broken := errors.New("broken")
	for name, v := range map[string]struct {
		source io.Reader
		want   error
	}{
		"fails":          {iotest.ErrReader(broken), broken},
		"fails halfway":  {io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)), broken},
		"ends":           {strings.NewReader("abc"), io.ErrUnexpectedEOF},
		"is empty":       {strings.NewReader(""), io.EOF},
		"one at a time":  {iotest.OneByteReader(strings.NewReader("abcdefgh")), nil},
		"data and error": {iotest.DataErrReader(strings.NewReader("abcdefgh")), nil},
	} {
		got, err := random.Text(v.source, 8)
		if !errors.Is(err, v.want) || (err == nil) != (got == "YWJjZGVmZ2g") {
			t.Errorf("%s: Text = %q, %v, want %v", name, got, err, v.want)
		}
	}
}
