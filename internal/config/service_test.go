package config_test

import (
	"bytes"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/config"
)

// TestService: an image or an address that no page may show is refused with its line, and with what to do.
func TestService(t *testing.T) {
	encode := func(width int, write func(*bytes.Buffer, image.Image) error) string {
		t.Helper()
		picture := image.NewPaletted(image.Rect(0, 0, width, 8), color.Palette{color.White, color.Black})
		var b bytes.Buffer
		if err := write(&b, picture); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	asPNG := func(b *bytes.Buffer, i image.Image) error { return png.Encode(b, i) }
	good := encode(8, asPNG)
	dir := t.TempDir()
	for name, content := range map[string]string{
		"logo.png":    good,
		"logo.jpg":    encode(8, func(b *bytes.Buffer, i image.Image) error { return jpeg.Encode(b, i, nil) }),
		"logo.gif":    encode(8, func(b *bytes.Buffer, i image.Image) error { return gif.Encode(b, i, nil) }),
		"logo.svg":    `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`,
		"svg.png":     `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`,
		"page.png":    "<!doctype html><script>alert(1)</script>",
		"wide.png":    encode(1025, asPNG),
		"damaged.png": good[:len(good)-20],
		"large.png":   good + strings.Repeat("x", 32<<10),
		"empty.png":   "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "data", "kek"), []byte(strings.Repeat("0", 64)), 0o600); err != nil {
		t.Fatal(err)
	}
	for setting, fault := range map[string]string{
		"logo_file: logo.png":    "",
		"logo_file: logo.jpg":    "",
		"logo_file: logo.gif":    "is not a PNG or JPEG image",
		"logo_file: logo.svg":    "is not a PNG or JPEG image",
		"logo_file: svg.png":     "is not a PNG or JPEG image",
		"logo_file: page.png":    "is not a PNG or JPEG image",
		"logo_file: empty.png":   "is not a PNG or JPEG image",
		"logo_file: wide.png":    "has 1025 by 8 pixels and may have 1024 by 1024: make it smaller",
		"logo_file: damaged.png": "is damaged: ",
		"logo_file: large.png":   "is larger than 32768 bytes: make it smaller, because it is part of every page",
		"logo_file: none.png":    "cannot be read: no such file or directory",
		"logo_file: data":        "cannot be read: is a directory",

		`privacy_url: "https://acme.im/privacy?in=de#top"`: "",
		`privacy_url: "http://acme.im/privacy"`:            `"http://acme.im/privacy" is not an https URL`,
		`terms_url: "javascript:alert(1)"`:                 `"javascript:alert(1)" is not an https URL`,
		`terms_url: "https:///terms"`:                      `"https:///terms" is not an https URL`,
		`terms_url: "https://user:pass@acme.im/"`:          `is not an https URL`,
		`terms_url: "//acme.im/terms"`:                     `"//acme.im/terms" is not an https URL`,
		`terms_url: "https://acme.im/a b"`:                 `"https://acme.im/a b" is not an https URL`,

		`name: "Acme Chat"`:                       "",
		`name: "Acme\u202EtahC"`:                  "is not 1 to 64 printable characters, without spaces around them",
		`name: "` + strings.Repeat("a", 65) + `"`: "is not 1 to 64 printable characters, without spaces around them",
	} {
		text := "issuer: https://id.acme.im\n# pages:\n\nservice:\n  " + setting + "\n" +
			"domains:\n  - {name: acme.im, providers: [{id: acme, issuer: \"https://login.acme.im\", client_id: issuer}]}\n"
		c, err := config.Parse(filepath.Join(dir, "issuer.yaml"), []byte(text), nil)
		switch {
		case fault == "":
			if err != nil {
				t.Errorf("%s: Parse = %v, want nil", setting, err)
			} else if (len(c.Service.Logo) > 0) != strings.HasPrefix(setting, "logo_file") {
				t.Errorf("%s: a logo of %d bytes", setting, len(c.Service.Logo))
			}
		case err == nil || !strings.Contains(err.Error(), "issuer.yaml:5: service.") || !strings.Contains(err.Error(), fault):
			t.Errorf("%s: Parse = %v, want line 5 and %q", setting, err, fault)
		}
	}
}
