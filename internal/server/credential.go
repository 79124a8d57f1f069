package server

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential/cert"
	"github.com/imidentity/issuer/internal/certs"
	"github.com/imidentity/issuer/internal/errtext"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/internal/vci"
	"github.com/imidentity/issuer/oauth"
)

// credentialRoutes is the table of the endpoints of OpenID4VCI 1.0, and of the revocation lists of its certificates.
func (s *Server) credentialRoutes() []route {
	return []route{
		{http.MethodGet, "/.well-known/openid-credential-issuer", s.credentialMetadata, anyOrigin, notCounted},
		{http.MethodGet, "/.well-known/jwt-vc-issuer", s.vcIssuerMetadata, anyOrigin, notCounted},
		{http.MethodPost, vci.NoncePath, s.credentialNonce, anyOrigin, notCounted},
		{http.MethodGet, certs.CRLPath + "{ca}/{part}", s.revocationList, anyOrigin, eachFailure},
		{http.MethodPost, vci.CredentialPath, s.bound(oauth.ScopeCredential, s.issueCredentials), anyOrigin, eachRequest},
	}
}

// describeCredentials makes the documents of the two routes for metadata.
func (s *Server) describeCredentials() (err error) {
	_, alg, _ := s.Keys.Signer()
	if s.credentials, err = s.Credentials.Metadata(alg); err != nil {
		return err
	}
	s.vcIssuer, err = s.Credentials.IssuerMetadata()
	return err
}

// credentialMetadata serves GET /.well-known/openid-credential-issuer (OpenID4VCI 1.0 §12.2.2), in the one form that every wallet
// reads: JSON that is not signed.
func (s *Server) credentialMetadata(c echo.Context) error {
	cacheable(c, "300")
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, s.credentials)
}

// vcIssuerMetadata serves GET /.well-known/jwt-vc-issuer (draft-ietf-oauth-sd-jwt-vc §4).
func (s *Server) vcIssuerMetadata(c echo.Context) error {
	cacheable(c, "300")
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, s.vcIssuer)
}

// credentialNonce serves POST /credential/nonce (OpenID4VCI 1.0 §7). It needs no token, and its body is not read. As in every answer,
// the nonce for DPoP proofs is in the header, and no cache may store it.
func (s *Server) credentialNonce(c echo.Context) error {
	nonce, err := s.Credentials.Nonce(c.Request().Context())
	if err != nil {
		return err
	}
	return encodeJSON(c, struct {
		Nonce string `json:"c_nonce"`
	}{nonce})
}

// issueCredentials serves POST /credential (OpenID4VCI 1.0 §8).
func (s *Server) issueCredentials(c echo.Context, holder claims.Set) error {
	body, err := credentialRequest(c)
	if err != nil {
		return err
	}
	got, err := s.Credentials.Issue(c.Request().Context(), holder, body, s.source(c))
	if err != nil {
		return s.notHeld(c, err)
	}
	s.metrics.credentialsIssued(got.Configuration, len(got.Credentials))
	type issued struct {
		Credential any `json:"credential"`
	}
	answer := struct {
		Credentials []issued `json:"credentials"`
	}{make([]issued, len(got.Credentials))}
	for i, made := range got.Credentials {
		answer.Credentials[i].Credential = made
	}
	return encodeJSON(c, answer)
}

// revocationList serves GET /crl/{ca}/{part} (RFC 5280 §5, RFC 2585).
func (s *Server) revocationList(c echo.Context) error {
	if s.CAs == nil {
		return certs.ErrNotFound
	}
	list, err := s.CAs.CRL(c.Request().Context(), c.Param("ca"), c.Param("part"))
	if err != nil {
		return err
	}
	return serveDocument(c, cert.MediaTypeCRL, list.DER, list.ETag, strconv.Itoa(int(certs.TTL/time.Second)))
}

// credentialRequest reads the body of a credential request. Its parameters are in the body, which is JSON (§8.2).
func credentialRequest(c echo.Context) ([]byte, error) {
	if c.Request().URL.RawQuery != "" {
		return nil, &vci.Error{Code: vci.InvalidRequest, Description: "The URL of a credential request has no query."}
	}
	if !httpapi.IsJSON(c.Request()) {
		return nil, &vci.Error{Code: vci.InvalidRequest,
			Description: "The body must be of type application/json: this issuer takes no encrypted requests."}
	}
	body, err := httpapi.ReadAll(c, vci.MaxBody)
	if refused := (*oauth.Error)(nil); errors.As(err, &refused) {
		return nil, &vci.Error{Code: vci.InvalidRequest, Description: refused.Description}
	}
	return body, err
}

// ofCredential returns err as the answer to a credential request that was refused, and false if it is another error.
func ofCredential(err error) (failure, bool) {
	var refused *vci.Error
	switch {
	case errors.Is(err, vci.ErrLoginAge):
		return loginTooOld(), true
	case errors.As(err, &refused):
		return failure{status: http.StatusBadRequest, code: refused.Code, description: errtext.Clean(refused.Description)}, true
	}
	return failure{}, false
}
