package config

import (
	"bytes"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
)

const (
	maxLogo       = 32 << 10 // bytes: the logo is part of every page
	maxLogoPixels = 1024     // width and height
)

// logoFormats holds how the formats of logos are read, by media type. Those that can contain scripts or load other files, such as SVG,
// are never part of a page.
var logoFormats = map[string]struct {
	config func(io.Reader) (image.Config, error)
	decode func(io.Reader) (image.Image, error)
}{
	"image/png":  {png.DecodeConfig, png.Decode},
	"image/jpeg": {jpeg.DecodeConfig, jpeg.Decode},
}

// service checks what pages show about the operator.
func (k *checker) service() {
	s := &k.Service
	k.displayed("service.name", s.Name)
	k.linked("service.privacy_url", s.PrivacyURL)
	k.linked("service.terms_url", s.TermsURL)
	if s.LogoFile == "" {
		return
	}
	s.LogoFile = k.resolve(s.LogoFile)
	const path = "service.logo_file"
	file, err := os.Open(s.LogoFile)
	if err != nil {
		k.report(path, "%s cannot be read: %s", s.LogoFile, cause(err))
		return
	}
	defer file.Close()
	logo, err := io.ReadAll(io.LimitReader(file, maxLogo+1))
	if err != nil {
		k.report(path, "%s cannot be read: %s", s.LogoFile, cause(err))
		return
	}
	if len(logo) > maxLogo {
		k.report(path, "%s is larger than %d bytes: make it smaller, because it is part of every page", s.LogoFile, maxLogo)
		return
	}
	format, ok := logoFormats[http.DetectContentType(logo)]
	if !ok {
		k.report(path, "%s is not a PNG or JPEG image", s.LogoFile)
		return
	}
	size, err := format.config(bytes.NewReader(logo))
	if err == nil && (size.Width > maxLogoPixels || size.Height > maxLogoPixels) {
		k.report(path, "%s has %d by %d pixels and may have %d by %d: make it smaller",
			s.LogoFile, size.Width, size.Height, maxLogoPixels, maxLogoPixels)
		return
	}
	if err == nil {
		_, err = format.decode(bytes.NewReader(logo))
	}
	if err != nil {
		k.report(path, "%s is damaged: %v", s.LogoFile, err)
		return
	}
	s.Logo = logo
}

// linked checks an address that pages link to.
func (k *checker) linked(path, address string) {
	if address == "" {
		return
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || strings.ContainsAny(address, " \t") ||
		u.Scheme != "https" && !(u.Scheme == "http" && k.Development) {
		k.report(path, "%q is not an https URL", address)
	}
}
