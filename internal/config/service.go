package config

import (
	"bytes"
	"image"
	_ "image/jpeg" // for DecodeConfig
	_ "image/png"  // likewise
	"io"
	"net/url"
	"os"
	"strings"
)

const (
	maxLogo       = 32 << 10 // bytes: the logo is part of every page
	maxLogoPixels = 1024     // width and height
)

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
		k.report(path, "%s is larger than %d bytes: the logo is part of every page", s.LogoFile, maxLogo)
		return
	}
	size, _, err := image.DecodeConfig(bytes.NewReader(logo))
	switch {
	case err != nil:
		k.report(path, "%s is not a PNG or JPEG image", s.LogoFile)
	case size.Width > maxLogoPixels || size.Height > maxLogoPixels:
		k.report(path, "%s has %d by %d pixels and may have %d by %d",
			s.LogoFile, size.Width, size.Height, maxLogoPixels, maxLogoPixels)
	default:
		s.Logo = logo
	}
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
