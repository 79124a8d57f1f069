// Package qr draws QR codes (ISO/IEC 18004) for terminals.
package qr

import (
	"fmt"
	"image/color"
	"strings"

	"github.com/boombuler/barcode/qr"
)

// quietZone is how many light modules surround a QR code (ISO/IEC 18004 §6.3.8).
const quietZone = 4

// Text draws a QR code with block elements, two modules in one character. Light modules are drawn, because most terminals are dark; readers
// also accept the code on a light one.
func Text(content string) (string, error) {
	code, err := qr.Encode(content, qr.M, qr.Auto)
	if err != nil {
		return "", fmt.Errorf("qr: %w", err)
	}
	size := code.Bounds().Dx()
	light := func(x, y int) bool {
		x, y = x-quietZone, y-quietZone
		return x < 0 || y < 0 || x >= size || y >= size || color.GrayModel.Convert(code.At(x, y)).(color.Gray).Y > 127
	}
	var b strings.Builder
	for y := 0; y < size+2*quietZone; y += 2 {
		for x := range size + 2*quietZone {
			switch upper, lower := light(x, y), y+1 < size+2*quietZone && light(x, y+1); {
			case upper && lower:
				b.WriteRune('█')
			case upper:
				b.WriteRune('▀')
			case lower:
				b.WriteRune('▄')
			default:
				b.WriteByte(' ')
			}
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}
