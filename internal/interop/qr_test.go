package interop_test

import (
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"

	"github.com/imidentity/issuer/internal/qr"
)

// TestQR lets a reader that is not ours read the QR codes that are drawn as text: as a camera sees them on a dark terminal.
func TestQR(t *testing.T) {
	for _, content := range []string{
		"https://im-id.example.com/device?user_code=WDJB-MJHT",
		"http://127.0.0.1:8080/device?user_code=BBBB-BBBB",
		"https://" + strings.Repeat("long.", 40) + "example.com/path/of/the/issuer/device?user_code=ZXWV-TSRQ",
	} {
		text, err := qr.Text(content)
		if err != nil {
			t.Fatal(err)
		}
		if read, err := readQR(screenOf(t, text)); err != nil || read != content {
			t.Errorf("the QR code of %s was read as %s, %v\n%s", content, read, err, text)
		}
	}
}

// screenOf draws text of block characters as a dark terminal shows it.
func screenOf(t *testing.T, text string) image.Image {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	const module = 4
	width := len([]rune(lines[0]))
	screen := image.NewGray(image.Rect(0, 0, width*module, 2*len(lines)*module))
	for y, line := range lines {
		row := []rune(line)
		if len(row) != width {
			t.Fatalf("line %d has %d characters, want %d", y, len(row), width)
		}
		for x, c := range row {
			for py := range 2 * module {
				for px := range module {
					upper := py < module
					if c == '█' || c == '▀' && upper || c == '▄' && !upper {
						screen.SetGray(x*module+px, 2*y*module+py, color.Gray{Y: 255})
					}
				}
			}
		}
	}
	return screen
}

// readQR reads the QR code in a picture.
func readQR(picture image.Image) (string, error) {
	bitmap, err := gozxing.NewBinaryBitmapFromImage(picture)
	if err != nil {
		return "", err
	}
	read, err := qrcode.NewQRCodeReader().Decode(bitmap, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_TRY_HARDER: true})
	if err != nil {
		return "", err
	}
	return read.GetText(), nil
}

// pageQR reads the QR code of the page that shows one, as the screen of a device does: narrow and light, wide and dark, in each language.
func pageQR(t *testing.T, shots, issuer string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(shots, "*-device-qr-*.png"))
	if err != nil || len(files) < 5 {
		t.Errorf("there are %d pictures of the QR code, %v, want 5", len(files), err)
	}
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		picture, err := png.Decode(file)
		file.Close()
		if err != nil {
			t.Fatal(err)
		}
		if read, err := readQR(picture); err != nil || read != issuer+"/device?user_code=WDJB-MJHT" {
			t.Errorf("%s was read as %q, %v, want the address of the page with the user code", name, read, err)
		}
	}
}
