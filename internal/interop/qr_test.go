package interop_test

import (
	"image"
	"image/color"
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
		bitmap, err := gozxing.NewBinaryBitmapFromImage(screen)
		if err != nil {
			t.Fatal(err)
		}
		read, err := qrcode.NewQRCodeReader().Decode(bitmap, nil)
		if err != nil || read.GetText() != content {
			t.Errorf("the QR code of %s was read as %v, %v\n%s", content, read, err, text)
		}
	}
}
