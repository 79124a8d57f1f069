package doctor

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/imidentity/issuer/internal/fetch"
)

// frontDoor sends requests to the public URL of the issuer, as clients do.
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
	if e.open = e.metadata(r); !e.open {
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

// wellKnown is the path of the metadata, in front of the path of the issuer (RFC 8414 §3.1).
const wellKnown = "/.well-known/oauth-authorization-server"

// closed reports why a request to the public URL had no answer.
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
		e.found(Unknown, "front door", "start the issuer and the proxy in front of it", "no server answers at %s: %v", e.cfg.Issuer,
			cause(err))
		return
	}
	e.found(Fail, "front door", "check the proxy, the firewall and DNS: the issuer itself runs", "no server answers at %s: %v",
		e.cfg.Issuer, cause(err))
}

// metadata checks that the answer is the metadata of this issuer.
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
		e.found(status, "front door", fmt.Sprintf("start the issuer; the proxy must lead to %s", e.cfg.Listen), "%s answers %d to %s",
			e.cfg.Issuer, r.StatusCode, what)
	case r.StatusCode != http.StatusOK:
		e.found(Fail, "front door", "let the proxy forward this path unchanged, and everything below "+e.cfg.Issuer, "%s answers %d to %s",
			e.cfg.Issuer, r.StatusCode, what)
	case fetch.CheckType(r.Response, "application/json") != nil || err != nil || m.Issuer == "":
		e.found(Fail, "front door", "let the proxy forward this path unchanged, and everything below "+e.cfg.Issuer,
			"%s does not answer with metadata to %s", e.cfg.Issuer, what)
	case m.Issuer != e.cfg.Issuer:
		e.found(Fail, "front door", "restart the issuer if its settings changed; if not, let the proxy lead to this one",
			"the issuer at %s calls itself %q", e.cfg.Issuer, m.Issuer)
	default:
		return true
	}
	return false
}

// nonce requests a nonce at the public URL, and compares it with those of the issuer that runs here.
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
		e.found(Fail, "proxy", "let the proxy forward the header DPoP-Nonce, and not change the answers of the issuer",
			"no nonce comes through the front door: GET /nonce answers %d without one", r.StatusCode)
		return false
	case e.running && got != before && got != own():
		e.found(Fail, "proxy", "let the proxy lead to this issuer, and not cache answers with no-store",
			"the nonce that comes through the front door is not one of the issuer that runs here")
		return false
	}
	return true
}

// proofs sends a text that is not a proof. If it arrives, the issuer refuses it as such.
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
		e.found(Fail, "proxy", "let the proxy forward POST requests and their answers unchanged",
			"POST /token answers %d, and not as the issuer does", r.StatusCode)
		return false
	case a.Error == "invalid_dpop_proof" || r.StatusCode >= 500 || r.StatusCode == http.StatusTooManyRequests:
		return true // the proof arrived, or the issuer is busy
	}
	e.found(Fail, "proxy", "let the proxy forward the header DPoP, once and unchanged",
		"a proof that is sent to POST /token does not arrive: it answers %s", a.Error)
	return false
}
