package wire

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
)

// A Provisioner is an ACME provisioner of a certificate authority.
type Provisioner struct{ scheme, host, path string }

// segments matches paths that have only one spelling.
var segments = regexp.MustCompile(`^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$`)

// ParseProvisioner reads the URL of an ACME provisioner, below which step-ca has directory and challenges:
// https://ca.example.com/acme/wire. It must be in normal form: lower case, no default port, no closing slash, nothing after the path.
func ParseProvisioner(text string) (Provisioner, error) {
	p, err := parseURL(text)
	if err != nil {
		return Provisioner{}, err
	}
	if !segments.MatchString(p.path) {
		return Provisioner{}, errors.New("the path must name the provisioner, as in https://ca.example.com/acme/wire")
	}
	return p, nil
}

// String returns the URL.
func (p Provisioner) String() string { return p.scheme + "://" + p.host + p.path }

// parseURL reads an https or http URL without user information, query and fragment, which is written in the one normal form.
func parseURL(text string) (Provisioner, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return Provisioner{}, errors.New("not an absolute URL")
	}
	p := Provisioner{u.Scheme, strings.ToLower(u.Host), u.Path}
	if port := u.Port(); port == "" || port == "443" && u.Scheme == "https" || port == "80" && u.Scheme == "http" {
		p.host = strings.TrimSuffix(p.host, ":"+port)
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return Provisioner{}, errors.New("not an https URL")
	case text != p.String():
		return Provisioner{}, errors.New("not in normal form: lower case, no default port, only scheme, host and path, no percent-encoding")
	}
	return p, nil
}

// Has reports whether text is the URL of a challenge of the provisioner, PROVISIONER/challenge/AUTHORIZATION/CHALLENGE. Scheme, host and
// path are compared after parsing, and only a URL that has one spelling is parsed, so step-ca reads it in the same way.
func (p Provisioner) Has(text string) bool {
	c, err := parseURL(text)
	if err != nil || c.scheme != p.scheme || c.host != p.host || !segments.MatchString(c.path) {
		return false
	}
	rest, ok := strings.CutPrefix(c.path, p.path+"/challenge/")
	return ok && strings.Count(rest, "/") == 1
}
