package server

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/chaining"
	"github.com/imidentity/issuer/feed"
	"github.com/imidentity/issuer/internal/assertion"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/web"
)

// metadata is the authorization server metadata (RFC 8414 §2; RFC 9207 §3; RFC 9449 §5.1;
// draft-ietf-oauth-identity-chaining-17 §3). The members with the prefix im_ are
// our own. im_domains_supported are the domains that the issuer speaks for, which the document of each domain must confirm.
type metadata struct {
	Issuer                        string   `json:"issuer"`
	AuthorizationEndpoint         string   `json:"authorization_endpoint"`
	TokenEndpoint                 string   `json:"token_endpoint"`
	DeviceAuthorizationEndpoint   string   `json:"device_authorization_endpoint"` // RFC 8628 §4
	JWKSURI                       string   `json:"jwks_uri"`
	ScopesSupported               []string `json:"scopes_supported"`
	ResponseTypesSupported        []string `json:"response_types_supported"`
	ResponseModesSupported        []string `json:"response_modes_supported"`
	GrantTypesSupported           []string `json:"grant_types_supported"`
	TokenAuthMethods              []string `json:"token_endpoint_auth_methods_supported"`
	TokenAuthAlgs                 []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	RegistrationEndpoint          string   `json:"registration_endpoint,omitempty"`
	RevocationEndpoint            string   `json:"revocation_endpoint"`
	RevocationAuthMethods         []string `json:"revocation_endpoint_auth_methods_supported"`
	RevocationAuthAlgs            []string `json:"revocation_endpoint_auth_signing_alg_values_supported"`
	IntrospectionEndpoint         string   `json:"introspection_endpoint"`
	IntrospectionAuthMethods      []string `json:"introspection_endpoint_auth_methods_supported"`
	IntrospectionAuthAlgs         []string `json:"introspection_endpoint_auth_signing_alg_values_supported"`
	IntrospectionAlgs             []string `json:"introspection_signing_alg_values_supported"` // RFC 9701 §7
	PAREndpoint                   string   `json:"pushed_authorization_request_endpoint"`
	RequirePAR                    bool     `json:"require_pushed_authorization_requests"`
	CodeChallengeMethods          []string `json:"code_challenge_methods_supported"`
	AuthorizationResponseIss      bool     `json:"authorization_response_iss_parameter_supported"`
	DPoPSigningAlgValuesSupported []string `json:"dpop_signing_alg_values_supported"`
	ChainingTokenTypes            []string `json:"identity_chaining_requested_token_types_supported"`
	UILocalesSupported            []string `json:"ui_locales_supported"`
	IMDomainsSupported            []string `json:"im_domains_supported"`
	IMRequestedTokenTypes         []string `json:"im_requested_token_types_supported"` // of access tokens by token exchange
	IMIntrospectionBatchEndpoint  string   `json:"im_introspection_batch_endpoint"`
	IMSuccessorEndpoint           string   `json:"im_successor_endpoint"`
	IMStapleEndpoint              string   `json:"im_staple_endpoint"`
	IMEventsEndpoint              string   `json:"im_events_endpoint"`
	IMXSignQueryEndpoint          string   `json:"im_xsign_query_endpoint"`
}

func (s *Server) describe() ([]byte, error) {
	_, alg, _ := s.Keys.Signer()
	confidential := []string{"client_secret_basic", "client_secret_post", "private_key_jwt"}
	all := append([]string{"none"}, confidential...)
	var registrations string
	if s.Registrations != nil {
		registrations = s.Issuer + registrationPath
	}
	body, err := json.Marshal(metadata{
		Issuer:                        s.Issuer,
		AuthorizationEndpoint:         s.Issuer + "/authorize",
		TokenEndpoint:                 s.Issuer + "/token",
		DeviceAuthorizationEndpoint:   s.Issuer + "/device_authorization",
		JWKSURI:                       s.Issuer + "/jwks",
		ScopesSupported:               oauth.Scopes,
		ResponseTypesSupported:        []string{"code"},
		ResponseModesSupported:        []string{"query"},
		GrantTypesSupported:           oauth.GrantTypes,
		TokenAuthMethods:              all,
		TokenAuthAlgs:                 assertion.Algorithms,
		RegistrationEndpoint:          registrations,
		RevocationEndpoint:            s.Issuer + "/revoke",
		RevocationAuthMethods:         all,
		RevocationAuthAlgs:            assertion.Algorithms,
		IntrospectionEndpoint:         s.Issuer + "/introspect",
		IntrospectionAuthMethods:      confidential,
		IntrospectionAuthAlgs:         assertion.Algorithms,
		IntrospectionAlgs:             []string{alg},
		PAREndpoint:                   s.Issuer + "/par",
		CodeChallengeMethods:          []string{"S256"},
		AuthorizationResponseIss:      true,
		DPoPSigningAlgValuesSupported: s.Algorithms,
		ChainingTokenTypes:            []string{chaining.TokenType},
		UILocalesSupported:            web.Languages(),
		IMDomainsSupported:            s.Domains,
		IMRequestedTokenTypes:         s.OAuth.RequestedTokenTypes(),
		IMIntrospectionBatchEndpoint:  s.Issuer + "/introspect/batch",
		IMSuccessorEndpoint:           s.Issuer + "/successor",
		IMStapleEndpoint:              s.Issuer + "/staple",
		IMEventsEndpoint:              s.Issuer + feed.Path,
		IMXSignQueryEndpoint:          s.Issuer + crossQueryPath,
	})
	if err != nil {
		return nil, fmt.Errorf("server: write metadata: %w", err)
	}
	return body, nil
}

// serveMetadata serves GET /.well-known/oauth-authorization-server (RFC 8414 §3).
func (s *Server) serveMetadata(c echo.Context) error {
	cacheable(c, "300")
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, s.metadata)
}
