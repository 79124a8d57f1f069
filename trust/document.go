package trust

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/internal/published"
)

// DocumentPath is where a domain publishes its document, by https on port 443.
const DocumentPath = "/.well-known/im-issuer"

// Limits of the document of a domain.
const (
	MaxDocument       = 16 << 10 // bytes
	MaxNamedIssuers   = 8
	maxIssuerURLBytes = 512
)

// plain are the characters of an issuer that a document names: no other needs an encoding.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/[]"

// A Document names the issuers that may speak for a domain. The domain publishes it at [DocumentPath].
type Document struct {
	// Domain is the domain, in canonical form.
	Domain string `json:"domain"`
	// Issuers are the URLs of the issuers, exactly as in `iss`. None means that no issuer may speak for the domain.
	Issuers []string `json:"issuers"`
}

// ParseDocument reads a document, strictly: a repeated member, an issuer that is repeated or not a plain https URL, more than
// [MaxNamedIssuers] issuers, or more than [MaxDocument] bytes are an error. The domain may have any spelling. Other members are ignored.
// Development also accepts domains that are reserved for tests, and issuers with http URLs.
func ParseDocument(data []byte, development bool) (Document, error) {
	if len(data) > MaxDocument {
		return Document{}, fmt.Errorf("trust: the document has more than %d bytes", MaxDocument)
	}
	var doc Document
	err := jose.ReadMembers(data, jose.Member{Name: "domain", Text: &doc.Domain, Required: true},
		jose.Member{Name: "issuers", Read: func(raw []byte) (err error) {
			doc.Issuers, err = jose.Strings(raw)
			return err
		}})
	if err != nil {
		return Document{}, fmt.Errorf("trust: document: %w", err)
	}
	if doc.Domain, err = claims.CheckDomain(doc.Domain, development); err != nil {
		return Document{}, fmt.Errorf("trust: document: domain: %w", err)
	}
	switch {
	case doc.Issuers == nil:
		return Document{}, errors.New("trust: document: issuers is missing")
	case len(doc.Issuers) > MaxNamedIssuers:
		return Document{}, fmt.Errorf("trust: document: more than %d issuers", MaxNamedIssuers)
	}
	for i, issuer := range doc.Issuers {
		if slices.Contains(doc.Issuers[:i], issuer) {
			return Document{}, errors.New("trust: document: an issuer is named twice")
		}
		u, err := checkIssuer(issuer, development)
		if err != nil {
			return Document{}, fmt.Errorf("trust: document: issuers[%d]: %w", i, err)
		}
		// One spelling: what is requested is what is written.
		if len(issuer) > maxIssuerURLBytes || strings.Trim(issuer, plain) != "" || !strings.HasPrefix(issuer, u.Scheme+":") ||
			u.Host != strings.ToLower(u.Host) ||
			u.Path != "" && u.Path != "/" && path.Clean(u.Path) != strings.TrimSuffix(u.Path, "/") {
			return Document{}, fmt.Errorf("trust: document: issuers[%d]: not a plain URL in normal form", i)
		}
	}
	return doc, nil
}

// checkIssuer returns the URL of an issuer (RFC 8414 §2: https, without query and fragment).
func checkIssuer(issuer string, development bool) (*url.URL, error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" ||
		u.Scheme != "https" && !(development && u.Scheme == "http") {
		return nil, errors.New("issuer: must be an https URL without user, query or fragment")
	}
	return u, nil
}

// errNoDocument means that a domain publishes no document.
var errNoDocument = errors.New("the domain publishes no document")

// fetchDocument fetches the document of a domain. The error is errNoDocument if the domain says that it has none. Any other error
// says nothing about the domain.
func fetchDocument(ctx context.Context, client *http.Client, domain string, development bool) (Document, error) {
	ctx = fetch.For(ctx, fetch.DomainDocument)
	data, err := published.ReadAtMost(ctx, client, MaxDocument, "https://"+domain+DocumentPath, "application/json")
	if status := (*published.StatusError)(nil); errors.As(err, &status) &&
		(status.Status == http.StatusNotFound || status.Status == http.StatusGone) {
		return Document{}, errNoDocument
	}
	if err != nil {
		return Document{}, err
	}
	doc, err := ParseDocument(data, development)
	if err != nil {
		return Document{}, err
	}
	if doc.Domain != domain {
		return Document{}, fmt.Errorf("the document is that of %s", doc.Domain)
	}
	return doc, nil
}
