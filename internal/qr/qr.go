// Package qr draws QR codes (ISO/IEC 18004) for terminals and for pages.
package qr

import (
	"fmt"
	"image/color"
	"strings"

	"github.com/boombuler/barcode/qr"
)

// quietZone is how many light modules surround a QR code (ISO/IEC 18004 §6.3.8).
const quietZone = 4

// modules returns the width of the QR code of content with its quiet zone, in modules, and a function that tells which modules are light.
func modules(content string) (width int, light func(x, y int) bool, err error) {
	code, err := qr.Encode(content, qr.M, qr.Auto)
	if err != nil {
		return 0, nil, fmt.Errorf("qr: %w", err)
	}
	size := code.Bounds().Dx()
	return size + 2*quietZone, func(x, y int) bool {
		x, y = x-quietZone, y-quietZone
		return x < 0 || y < 0 || x >= size || y >= size || color.GrayModel.Convert(code.At(x, y)).(color.Gray).Y > 127
	}, nil
}

// Text draws a QR code with block elements, two modules in one character. Light modules are drawn, because most terminals are dark; readers
// also accept the code on a light one.
func Text(content string) (string, error) {
	width, light, err := modules(content)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for y := 0; y < width; y += 2 {
		for x := range width {
			switch upper, lower := light(x, y), y+1 < width && light(x, y+1); {
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

// Path returns the dark modules of a QR code as the data of a path of SVG (SVG 1.1 §8.3), and the width of the code with its quiet zone.
// A module is one unit wide. The data has only letters, digits, hyphens and spaces.
func Path(content string) (path string, width int, err error) {
	width, light, err := modules(content)
	if err != nil {
		return "", 0, err
	}
	var b strings.Builder
	for y := range width {
		for x := 0; x < width; x++ {
			from := x
			for !light(x, y) { // the quiet zone ends each run
				x++
			}
			if x > from {
				fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", from, y, x-from, x-from)
			}
		}
	}
	return b.String(), width, nil
}
