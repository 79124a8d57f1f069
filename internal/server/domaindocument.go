package server

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/trust"
)

// A tagged is a document that does not change, and its entity tag.
type tagged struct {
	body []byte
	etag string
}

func (s *Server) documentsOfDomains() (map[string]tagged, error) {
	documents := make(map[string]tagged)
	for _, domain := range s.Domains {
		body, err := json.Marshal(trust.Document{Domain: domain, Issuers: append([]string{s.Issuer}, s.OtherIssuers[domain]...)})
		if err != nil {
			return nil, fmt.Errorf("server: write the document of %s: %w", domain, err)
		}
		sum := sha256.Sum256(body)
		documents[domain] = tagged{body, `"` + hex.EncodeToString(sum[:16]) + `"`}
	}
	return documents, nil
}

// domainDocument serves GET /.well-known/im-issuer: the document of the domain in the parameter domain, or else of the domain that is the
// host of the issuer. The web server of any other domain passes requests on with that parameter, or has a copy.
func (s *Server) domainDocument(c echo.Context) error {
	query, err := url.ParseQuery(c.Request().URL.RawQuery)
	if err != nil || len(query["domain"]) > 1 {
		return httpapi.Invalid("The query is malformed, or has the parameter domain twice.")
	}
	name := s.host
	if asked := query.Get("domain"); asked != "" {
		name, _ = claims.CheckDomain(asked, true) // "" is not among the documents
	}
	document, ok := s.documents[name]
	if !ok {
		description := "The parameter domain does not name a domain of this issuer."
		if !query.Has("domain") {
			description = "The host of this issuer is not one of its domains: name a domain with the parameter domain."
		}
		return &httpapi.RefusedError{Status: http.StatusNotFound, Code: "not_found", Description: description}
	}
	return serveDocument(c, echo.MIMEApplicationJSON, document.body, document.etag, "300")
}
