package web

import (
	"net/http"

	"github.com/imidentity/issuer/internal/qr"
)

// A DeviceQR is the page that shows the address of the page about a user code as a QR code (RFC 8628 §3.3.1).
type DeviceQR struct {
	// Code is the user code as people read it. Complete is the verification_uri_complete, and Page the verification_uri.
	Code, Complete, Page string
}

// The picture is light in the dark, too: many readers do not accept an inverted code.
var deviceQR = newLayout(`{{define "title"}}{{t "device.qr.title"}}{{end}}{{with .Body}}<p>{{t "device.qr.text"}}</p>
<svg class="qr" viewBox="0 0 {{.Width}} {{.Width}}" role="img" aria-label="{{t "device.qr.alt"}}" shape-rendering="crispEdges">
<path fill="#fff" d="M0 0h{{.Width}}v{{.Width}}h-{{.Width}}z"/><path d="{{.Path}}"/>
</svg>
<p>{{t "device.qr.code"}}</p>
<p class="shown" dir="ltr"><code>{{.Code}}</code></p>
<p>{{t "device.qr.page" "page" (code .Page)}}</p>{{end}}`)

// ShowDeviceQR writes p.
func ShowDeviceQR(w http.ResponseWriter, p DeviceQR, f Frame) error {
	path, width, err := qr.Path(p.Complete)
	if err != nil {
		return err
	}
	b := struct {
		DeviceQR
		Path  string
		Width int
	}{p, path, width}
	return write(w, http.StatusOK, deviceQR, f.view(&b), nil)
}
