package config

import (
	"net"
	"net/netip"
	"slices"
	"strings"
)

// AdminBehindProxy tells that the listener for operators speaks plain http to a proxy, which is one of TrustedProxies.
func (c *Config) AdminBehindProxy() bool {
	return c.AdminListen != "" && c.AdminTLS.CertFile == "" && !loopbackAddress(c.AdminListen)
}

// adminListener checks the listener that serves operators over the network.
func (k *checker) adminListener() {
	if k.AdminListen == "" {
		if k.SCIM.Listener == "admin" {
			k.report("scim.listener", "admin has no effect without admin_listen: add it, or leave the key out to serve SCIM at listen")
		}
		const needs = "has no effect without admin_listen: add it or leave the key out"
		if k.AdminURL != "" {
			k.report("admin_url", needs)
		}
		if k.AdminTLS != (TLS{}) {
			k.report("admin_tls", needs)
		}
		return
	}
	if _, port, err := net.SplitHostPort(k.AdminListen); err != nil || !isPort(port) {
		k.report("admin_listen", "%q is not host:port, as in 127.0.0.1:9443", k.AdminListen)
		return
	}
	if k.AdminListen == k.Listen {
		k.report("admin_listen", "is the address of listen: operators have a listener of their own, so choose another port")
	}
	switch own := k.AdminTLS; {
	case own == TLS{}, own.CertFile != "" && own.KeyFile != "" && k.TLS == TLS{k.resolve(own.CertFile), k.resolve(own.KeyFile)}:
		k.AdminTLS = k.TLS
	default:
		k.certificate("admin_tls", &k.AdminTLS)
	}
	if k.AdminBehindProxy() && len(k.TrustedProxies) == 0 {
		k.report("admin_tls", "is missing: without TLS, others on the network would read what operators do. Name a certificate, listen on "+
			"127.0.0.1, or name the proxy that ends TLS in front in trusted_proxies")
	}
	k.adminURL()
}

// metricsListener checks the listener that serves metrics.
func (k *checker) metricsListener() {
	const path = "metrics_listen"
	switch _, port, err := net.SplitHostPort(k.MetricsListen); {
	case k.MetricsListen == "":
	case err != nil || !isPort(port):
		k.report(path, "%q is not host:port, as in 127.0.0.1:9090", k.MetricsListen)
	case k.MetricsListen == k.Listen || k.MetricsListen == k.AdminListen:
		k.report(path, "is the address of another listener: it serves metrics alone, so choose another port")
	}
}

// adminURL checks the URL under which programs reach operators' endpoints. Proofs name it, so it has one spelling.
func (k *checker) adminURL() {
	const path = "admin_url"
	if k.AdminURL == "" {
		k.report(path, "is required with admin_listen: the URL under which programs reach that listener, as in https://admin.acme.im:9443")
		return
	}
	u := k.url(path, k.AdminURL, "https", "http")
	if u == nil {
		return
	}
	host := strings.ToLower(u.Host)
	if port := u.Port(); port == "443" && u.Scheme == "https" || port == "80" && u.Scheme == "http" || port == "" {
		host = strings.TrimSuffix(host, ":"+port)
	}
	switch normal := u.Scheme + "://" + host; {
	case u.Scheme == "http" && k.AdminTLS.CertFile != "":
		k.report(path, "%q is not https, and the listener has a certificate", k.AdminURL)
	case u.Scheme == "http" && !loopbackAddress(u.Host):
		k.report(path, "%q is not https: plain http is only for a listener on loopback, as in http://127.0.0.1:9080", k.AdminURL)
	case u.Scheme == "https" && k.AdminTLS.CertFile == "" && len(k.TrustedProxies) == 0:
		k.report(path, "%q is https, and nothing speaks TLS: name a certificate in admin_tls, or the proxy in trusted_proxies", k.AdminURL)
	case k.AdminURL != normal:
		k.report(path, "%q is not an origin in normal form (no path, lower case, no default port): write %s", k.AdminURL, normal)
	}
}

// loopbackAddress reports whether a host, with or without a port, is an address of this machine alone.
func loopbackAddress(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// operator checks a client with the scope admin. It is a service that proves a key: no user has such a token, and no secret that was
// read somewhere is enough.
func (k *checker) operator(c *Client, path string) {
	i := slices.Index(c.Scopes, "admin")
	if i < 0 {
		return
	}
	at := index(join(path, "scopes"), i)
	switch {
	case !slices.Equal(c.Grants, []string{"client_credentials"}):
		k.report(at, "is for a service: its one grant is client_credentials, so that no user gets a token with it")
	case c.Auth != "private_key_jwt":
		k.report(at, "needs auth: private_key_jwt: `issuer assertion --key FILE --jwks` makes a key and prints the jwks")
	case c.DPoP != "required":
		k.report(at, "needs dpop: required: a token of an operator is always bound to a key")
	}
}
