package doctor

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/fetch"
)

// A certificate that expires within this time should have been renewed.
const renewal = 21 * 24 * time.Hour

// socket asks the admin socket whether an issuer runs here.
func (e *examination) socket(ctx context.Context) {
	r, err := ask(ctx, e.admin.HTTP(), http.MethodGet, "http://issuer/admin/keys", nil, nil)
	switch {
	case errors.Is(err, fs.ErrPermission):
		e.found(Unknown, "admin", "run doctor as the user that the issuer runs as", "the admin socket %s cannot be opened by this user", e.admin)
		return
	case err != nil:
		e.found(Unknown, "admin", "start it with `issuer serve --config`; if it runs, check that data and admin are those of its settings", "no issuer answers at %s: %v", e.admin, cause(err))
		return
	}
	e.running = true
	var list []struct{ State string }
	signing := 0
	err = json.Unmarshal(r.body, &list)
	for _, k := range list {
		if k.State == "signing" {
			signing++
		}
	}
	if r.StatusCode != http.StatusOK || err != nil || signing == 0 {
		e.found(Fail, "admin", "see the log of the issuer, and issuer keys list", "the issuer answers at %s, but has no signing key", e.admin)
		return
	}
	e.ok("admin", "an issuer answers at %s", e.admin)
}

// dns looks the issuer's host up.
func (e *examination) dns(ctx context.Context) {
	host := e.issuer.Hostname()
	if _, err := netip.ParseAddr(host); err == nil {
		e.ok("dns", "%s is an address, not a name", host)
		return
	}
	if to, ok := e.cfg.Outbound.DevHosts[strings.ToLower(host)]; ok {
		e.ok("dns", "outbound.dev_hosts leads %s to %s", host, to)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	var no *net.DNSError
	switch {
	case errors.As(err, &no) && no.IsNotFound && e.cfg.Outbound.Proxy != "":
		e.found(Unknown, "dns", "look it up from a network of your users", "%s has no address here; outbound.proxy may know one", host)
	case errors.As(err, &no) && no.IsNotFound:
		e.nowhere = true
		e.found(Fail, "dns", "create an A or AAAA record for it, or correct issuer", "%s has no address", host)
	case err != nil:
		e.found(Unknown, "dns", "look at the resolver of this machine", "%s cannot be looked up: %v", host, err)
	default:
		var list []string
		for _, ip := range found {
			list = append(list, ip.Unmap().String())
		}
		e.ok("dns", "%s is at %s", host, strings.Join(list, ", "))
	}
}

// certificate looks at the one that the settings name.
func (e *examination) certificate(context.Context) {
	if e.cfg.TLS.CertFile == "" {
		return
	}
	text, err := os.ReadFile(e.cfg.TLS.CertFile)
	if err != nil {
		e.found(Fail, "tls", "", "%v", err)
		return
	}
	block, _ := pem.Decode(text)
	if block == nil {
		e.found(Fail, "tls", "", "%s contains no PEM block", e.cfg.TLS.CertFile)
		return
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		e.found(Fail, "tls", "", "%s: %v", e.cfg.TLS.CertFile, err)
		return
	}
	if err := leaf.VerifyHostname(e.issuer.Hostname()); err != nil {
		e.found(Fail, "tls", "get a certificate for "+e.issuer.Hostname(), "%s: %v", e.cfg.TLS.CertFile, err)
		return
	}
	e.expiry(leaf, e.cfg.TLS.CertFile)
}

// expiry tells how long a certificate is good.
func (e *examination) expiry(leaf *x509.Certificate, of string) {
	now := time.Now()
	left := leaf.NotAfter.Sub(now)
	switch {
	case now.Before(leaf.NotBefore):
		e.found(Fail, "tls", "set the clock, or wait", "the certificate of %s is not valid before %s", of, leaf.NotBefore.Format(time.RFC3339))
	case left <= 0:
		e.found(Fail, "tls", "renew it", "the certificate of %s expired on %s", of, leaf.NotAfter.Format(time.RFC3339))
	case left < renewal:
		e.found(Warn, "tls", "renew it, and check why it was not renewed automatically", "the certificate of %s expires in %d days, on %s", of, int(left/(24*time.Hour)), leaf.NotAfter.Format(time.RFC3339))
	default:
		e.ok("tls", "the certificate of %s is valid for %d more days", of, int(left/(24*time.Hour)))
	}
}

// frontDoor goes to the issuer as everybody does.
func (e *examination) frontDoor(ctx context.Context) {
	if e.nowhere {
		return
	}
	before := e.forwarded(ctx)
	r, err := e.get(ctx, e.issuer.Scheme+"://"+e.issuer.Host+wellKnown+e.issuer.Path)
	if err != nil {
		e.closed(err)
		return
	}
	if r.TLS != nil {
		e.expiry(r.TLS.PeerCertificates[0], e.cfg.Issuer)
	} else {
		e.found(Warn, "tls", "serve it with https", "%s is plain http", e.cfg.Issuer)
	}
	e.measured(e.cfg.Issuer, r)
	if !e.metadata(r) {
		return
	}
	if e.nonce(ctx) && e.proofs(ctx) {
		e.ok("front door", "%s leads to this issuer, and the proxy forwards what proofs need", e.cfg.Issuer)
	}
	e.proxies(r, before, e.forwarded(ctx))
	if r, err := e.get(ctx, e.cfg.Issuer+"/readyz"); err == nil && r.StatusCode != http.StatusOK {
		e.found(Fail, "front door", "see the log of the issuer", "the issuer says that it is not ready (%d)", r.StatusCode)
	}
}

// wellKnown is where metadata is, before the path of the issuer (RFC 8414 §3.1).
const wellKnown = "/.well-known/oauth-authorization-server"

// closed says why nothing came from the front door.
func (e *examination) closed(err error) {
	host := e.issuer.Hostname()
	var (
		cert   *tls.CertificateVerificationError
		record tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &cert):
		text, remedy := badCertificate(cert, host)
		e.found(Fail, "tls", remedy, "%s", text)
		return
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		e.found(Fail, "tls", "let a proxy end TLS there, or set tls.cert_file and tls.key_file", "%s speaks no TLS at that port", host)
		return
	}
	if remedy, ok := e.forbidden(err); ok {
		status := Unknown
		if refused := (*fetch.RefusedError)(nil); errors.As(err, &refused) && refused.Part == "redirect" {
			status = Fail
		}
		e.found(status, "front door", remedy, "%s was not asked: %v", e.cfg.Issuer, cause(err))
		return
	}
	if !e.running {
		e.found(Unknown, "front door", "start the issuer and the proxy in front of it", "no server answers at %s: %v", e.cfg.Issuer, cause(err))
		return
	}
	e.found(Fail, "front door", "check the proxy, the firewall and DNS: the issuer itself runs", "no server answers at %s: %v", e.cfg.Issuer, cause(err))
}

// badCertificate says what is wrong with one.
func badCertificate(err *tls.CertificateVerificationError, host string) (text, remedy string) {
	var (
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		unknown  x509.UnknownAuthorityError
		leaf     = err.UnverifiedCertificates[0]
	)
	switch {
	case errors.As(err, &hostname):
		return fmt.Sprintf("the certificate is not for %s: %v", host, hostname), "get one for " + host + ", or let that name lead to the server that has it"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && time.Now().Before(leaf.NotBefore):
		return fmt.Sprintf("the certificate of %s is not valid before %s", host, leaf.NotBefore.Format(time.RFC3339)), "set the clock of this machine, or wait"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("the certificate of %s, or one in its chain, has expired; its own end is %s", host, leaf.NotAfter.Format(time.RFC3339)), "renew it"
	case errors.As(err, &unknown) && bytes.Equal(leaf.RawIssuer, leaf.RawSubject):
		return fmt.Sprintf("the certificate of %s is signed by itself", host), "get one of an authority that clients know"
	case errors.As(err, &unknown) && len(err.UnverifiedCertificates) == 1:
		return fmt.Sprintf("the certificate of %s comes alone, and %s, which signed it, is not known here", host, leaf.Issuer),
			"let the server send the whole chain (fullchain.pem); for an authority of your own, name it in outbound.ca_file"
	case errors.As(err, &unknown):
		return fmt.Sprintf("the certificate of %s leads to no authority that is known here: %v", host, unknown), "get one of an authority that clients know, or name your own in outbound.ca_file"
	}
	return fmt.Sprintf("the certificate of %s is not valid: %v", host, err), "get another one"
}

// metadata holds the answer to the first question to what this issuer says of itself.
func (e *examination) metadata(r reply) bool {
	var m struct {
		Issuer string `json:"issuer"`
	}
	err := json.Unmarshal(r.body, &m)
	what := "GET " + r.Request.URL.Path
	switch {
	case r.StatusCode == http.StatusBadGateway, r.StatusCode == http.StatusServiceUnavailable, r.StatusCode == http.StatusGatewayTimeout:
		status := Fail
		if !e.running {
			status = Unknown
		}
		e.found(status, "front door", fmt.Sprintf("start the issuer; the proxy must lead to %s", e.cfg.Listen), "%s answers %d to %s", e.cfg.Issuer, r.StatusCode, what)
	case r.StatusCode != http.StatusOK:
		e.found(Fail, "front door", "let the proxy forward this path unchanged, and everything below "+e.cfg.Issuer, "%s answers %d to %s", e.cfg.Issuer, r.StatusCode, what)
	case fetch.CheckType(r.Response, "application/json") != nil || err != nil || m.Issuer == "":
		e.found(Fail, "front door", "let the proxy forward this path unchanged, and everything below "+e.cfg.Issuer, "%s does not answer with metadata to %s", e.cfg.Issuer, what)
	case m.Issuer != e.cfg.Issuer:
		e.found(Fail, "front door", "restart the issuer if its settings changed; if not, let the proxy lead to this one", "the issuer at %s calls itself %q", e.cfg.Issuer, m.Issuer)
	default:
		return true
	}
	return false
}

// nonce asks for one through the front door, and compares it with those of the issuer that runs here.
func (e *examination) nonce(ctx context.Context) bool {
	if e.cfg.DPoP.Nonce != "required" {
		return true
	}
	const header = "DPoP-Nonce"
	own := func() string {
		if r, err := ask(ctx, e.admin.HTTP(), http.MethodGet, "http://issuer/admin/keys", nil, nil); err == nil {
			return r.Header.Get(header)
		}
		return ""
	}
	before := own()
	r, err := e.get(ctx, e.cfg.Issuer+"/nonce")
	if err != nil {
		e.closed(err)
		return false
	}
	switch got := r.Header.Get(header); {
	case got == "":
		e.found(Fail, "proxy", "let the proxy forward the header DPoP-Nonce, and not change the answers of the issuer", "no nonce comes through the front door: GET /nonce answers %d without one", r.StatusCode)
		return false
	case e.running && got != before && got != own():
		e.found(Fail, "proxy", "let the proxy lead to this issuer, and not cache answers with no-store", "the nonce that comes through the front door is not one of the issuer that runs here")
		return false
	}
	return true
}

// proofs sends what is no proof: the issuer says so, if it gets to see it.
func (e *examination) proofs(ctx context.Context) bool {
	form := url.Values{"grant_type": {"authorization_code"}, "client_id": {"doctor"}, "code": {"doctor"}}.Encode()
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Dpop": {"doctor"}}
	r, err := ask(ctx, e.client, http.MethodPost, e.cfg.Issuer+"/token", header, strings.NewReader(form))
	if err != nil {
		e.closed(err)
		return false
	}
	var a struct {
		Error string `json:"error"`
	}
	switch err := json.Unmarshal(r.body, &a); {
	case err != nil || a.Error == "":
		e.found(Fail, "proxy", "let the proxy forward POST requests and their answers unchanged", "POST /token answers %d, and not as the issuer does", r.StatusCode)
		return false
	case a.Error == "invalid_dpop_proof" || r.StatusCode >= 500 || r.StatusCode == http.StatusTooManyRequests:
		return true // as it should be, or busy
	}
	e.found(Fail, "proxy", "let the proxy forward the header DPoP, once and unchanged", "a proof that is sent to POST /token does not arrive: it answers %s", a.Error)
	return false
}
