package sealed_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/imidentity/issuer/internal/sealed"
)

func seal(t testing.TB, passphrase, secret string) sealed.Box {
	t.Helper()
	box, err := sealed.Seal([]byte(passphrase), []byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return box
}

func TestSeal(t *testing.T) {
	box := seal(t, "correct horse", "the secret")
	text, err := json.Marshal(box)
	if err != nil || bytes.Contains(text, []byte("secret")) {
		t.Fatalf("Marshal = %s, %v, want no secret", text, err)
	}
	var again sealed.Box
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	if got, err := again.Open([]byte("correct horse")); string(got) != "the secret" || err != nil {
		t.Errorf("Open = %q, %v, want the secret", got, err)
	}
	for _, wrong := range []string{"", "correct hors", "correct horse "} {
		if got, err := again.Open([]byte(wrong)); got != nil || !errors.Is(err, sealed.ErrPassphrase) {
			t.Errorf("Open(%q) = %q, %v, want ErrPassphrase", wrong, got, err)
		}
	}
	if other := seal(t, "correct horse", "the secret"); bytes.Equal(other.Salt, box.Salt) || bytes.Equal(other.Text, box.Text) {
		t.Error("two boxes have one salt or text")
	}
}

// TestBounds changes a box: what costs too much is refused before anything is computed, and the rest does not open.
func TestBounds(t *testing.T) {
	good := seal(t, "p", "secret")
	for name, test := range map[string]struct {
		change    func(*sealed.Box)
		parameter string // of the ParameterError; empty for ErrPassphrase
	}{
		"version":          {func(b *sealed.Box) { b.Version = 2 }, "version"},
		"argon2i":          {func(b *sealed.Box) { b.KDF = "argon2i" }, "kdf"},
		"cipher":           {func(b *sealed.Box) { b.AEAD = "A128GCM" }, "aead"},
		"4 TiB":            {func(b *sealed.Box) { b.MemoryKiB = 1<<32 - 1 }, "memory_kib"},
		"1 GiB":            {func(b *sealed.Box) { b.MemoryKiB = 1 << 20 }, "memory_kib"},
		"no memory":        {func(b *sealed.Box) { b.MemoryKiB = 0 }, "memory_kib"},
		"no passes":        {func(b *sealed.Box) { b.Passes = 0 }, "passes"},
		"passes for years": {func(b *sealed.Box) { b.Passes = 1<<32 - 1 }, "passes"},
		"512 MiB, 5 times": {func(b *sealed.Box) { b.MemoryKiB, b.Passes = 512<<10, 5 }, "passes"},
		"no lanes":         {func(b *sealed.Box) { b.Lanes = 0 }, "lanes"},
		"255 lanes":        {func(b *sealed.Box) { b.Lanes = 255 }, "lanes"},
		"no salt":          {func(b *sealed.Box) { b.Salt = nil }, "salt"},
		"long nonce":       {func(b *sealed.Box) { b.Nonce = append(b.Nonce, 0) }, "nonce"},
		"long text":        {func(b *sealed.Box) { b.Text = make([]byte, 1<<20+1) }, "text"},
		"fewer passes":     {func(b *sealed.Box) { b.Passes = 1 }, ""},
		"less memory":      {func(b *sealed.Box) { b.MemoryKiB = 8 << 10 }, ""},
		"other salt":       {func(b *sealed.Box) { b.Salt = make([]byte, 16) }, ""},
		"other nonce":      {func(b *sealed.Box) { b.Nonce = make([]byte, 12) }, ""},
		"other text":       {func(b *sealed.Box) { b.Text = bytes.Repeat([]byte{1}, len(b.Text)) }, ""},
		"no text":          {func(b *sealed.Box) { b.Text = nil }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			box := good
			test.change(&box)
			got, err := box.Open([]byte("p"))
			var wrong *sealed.ParameterError
			if is := errors.As(err, &wrong); got != nil || is != (test.parameter != "") || is && wrong.Parameter != test.parameter {
				t.Errorf("Open = %q, %v, want a fault of %q", got, err, test.parameter)
			}
			if test.parameter == "" && !errors.Is(err, sealed.ErrPassphrase) {
				t.Errorf("Open = %v, want ErrPassphrase", err)
			}
		})
	}
}

// FuzzCheck: a box of any JSON that Check accepts costs at most 512 MiB and 2 GiB of passes, with salt and nonce of the right length.
func FuzzCheck(f *testing.F) {
	text, err := json.Marshal(seal(f, "p", "secret"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"version":1,"kdf":"argon2id","passes":4294967295,"memory_kib":8192,"lanes":1,"aead":"A256GCM"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var b sealed.Box
		if json.Unmarshal(text, &b) != nil || b.Check() != nil {
			return
		}
		work := uint64(b.Passes) * uint64(b.MemoryKiB)
		if b.MemoryKiB > 512<<10 || work > 2<<20 || work == 0 || b.Lanes == 0 || b.Lanes > 16 || len(b.Salt) != 16 || len(b.Nonce) != 12 {
			t.Errorf("Check accepts %s", text)
		}
	})
}
