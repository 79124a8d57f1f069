package registration

import (
	"encoding/json"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/imidentity/issuer/internal/jose"
)

// Metadata are the client metadata that have a meaning here (RFC 7591 §2, RFC 9449 §5.2, RFC 9126 §6, RFC 9701 §6), as a client sends
// them and as they are registered.
type Metadata struct {
	RedirectURIs      []string        `json:"redirect_uris,omitempty"`
	AuthMethod        string          `json:"token_endpoint_auth_method"`
	GrantTypes        []string        `json:"grant_types"`
	ResponseTypes     []string        `json:"response_types"`
	ClientName        string          `json:"client_name,omitempty"`
	Scope             string          `json:"scope,omitempty"`
	JWKS              json.RawMessage `json:"jwks,omitempty"`
	JWKSURI           string          `json:"jwks_uri,omitempty"`
	ApplicationType   string          `json:"application_type,omitempty"` // OpenID Connect Registration 1.0 §2
	DPoPBound         bool            `json:"dpop_bound_access_tokens"`
	RequirePAR        bool            `json:"require_pushed_authorization_requests,omitempty"`
	SignedResponseAlg string          `json:"introspection_signed_response_alg,omitempty"`
	// IMDomains are the domains of the client, and IMResources the audiences that it may request tokens for.
	IMDomains   []string `json:"im_domains"`
	IMResources []string `json:"im_resources,omitempty"`
}

// read holds what a client sent: the metadata, and the members of a change that are about the registration itself (RFC 7592 §2.2).
type read struct {
	Metadata
	clientID, secret string
}

// issued are members of the answers of the issuer, which a client must not send (RFC 7592 §2.2).
var issued = []string{"registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"}

// parse reads client metadata: one JSON object without repeated members. Members without a meaning here are ignored (RFC 7591 §2). A
// member that is null counts as absent (RFC 7592 §2.2).
func parse(body []byte) (*read, error) {
	r := &read{Metadata: Metadata{DPoPBound: true}}
	texts := map[string]*string{
		"token_endpoint_auth_method": &r.AuthMethod, "client_name": &r.ClientName, "scope": &r.Scope, "jwks_uri": &r.JWKSURI,
		"application_type": &r.ApplicationType, "introspection_signed_response_alg": &r.SignedResponseAlg,
		"client_id": &r.clientID, "client_secret": &r.secret,
	}
	lists := map[string]*[]string{
		"redirect_uris": &r.RedirectURIs, "grant_types": &r.GrantTypes, "response_types": &r.ResponseTypes,
		"im_domains": &r.IMDomains, "im_resources": &r.IMResources,
	}
	flags := map[string]*bool{
		"dpop_bound_access_tokens": &r.DPoPBound, "require_pushed_authorization_requests": &r.RequirePAR,
	}
	var fault error
	wrong := func(name, want string) {
		if fault == nil {
			fault = &Error{Code: codeOf(name), Description: name + " must be " + want + "."}
		}
	}
	err := jose.Object(body, func(name string, value []byte) (err error) {
		if string(value) == "null" {
			return nil
		}
		if to, ok := texts[name]; ok {
			if *to, err = jose.String(value); err != nil || *to == "" {
				wrong(name, "text")
			}
		} else if to, ok := lists[name]; ok {
			if *to, err = jose.Strings(value); err != nil {
				wrong(name, "an array of text")
			}
		} else if to, ok := flags[name]; ok {
			if json.Unmarshal(value, to) != nil {
				wrong(name, "true or false")
			}
		}
		switch {
		case name == "jwks":
			r.JWKS = slices.Clone(value)
		case name == "software_statement":
			fault = &Error{"unapproved_software_statement", "Software statements are not accepted: leave out software_statement."}
		case slices.Contains(issued, name):
			fault = &Error{Code: CodeInvalidMetadata, Description: name + " is set by the issuer: leave it out."}
		}
		return nil
	})
	if err != nil {
		return nil, refuse("The body is not one JSON object, in UTF-8 and without repeated members.")
	}
	return r, fault
}

// complete fills in the defaults (RFC 7591 §2) and checks what the settings of clients have no rule for.
func (r *read) complete() error {
	if r.AuthMethod == "" {
		r.AuthMethod = "client_secret_basic"
	}
	if r.GrantTypes == nil {
		r.GrantTypes = []string{"authorization_code"}
	}
	logsIn := slices.Contains(r.GrantTypes, "authorization_code")
	if r.ResponseTypes == nil {
		r.ResponseTypes = []string{}
		if logsIn {
			r.ResponseTypes = []string{"code"}
		}
	}
	switch {
	case !r.DPoPBound:
		return refuse("dpop_bound_access_tokens must be true: all tokens of registered clients are bound to a key.")
	case logsIn && !slices.Equal(r.ResponseTypes, []string{"code"}), !logsIn && len(r.ResponseTypes) > 0:
		return refuse("response_types must be code with the grant type authorization_code, and empty without (RFC 7591 section 2.1).")
	case r.ApplicationType != "" && r.ApplicationType != "web" && r.ApplicationType != "native":
		return refuse("application_type must be web or native.")
	case len(r.RedirectURIs) > 20:
		return &Error{Code: CodeInvalidRedirect, Description: "There are more than 20 redirect_uris."}
	}
	if r.ApplicationType == "web" {
		for _, uri := range r.RedirectURIs {
			if !ofWeb(uri) {
				return &Error{Code: CodeInvalidRedirect,
					Description: "With application_type web each of redirect_uris must be an https URL of another machine than the user's."}
			}
		}
	}
	return nil
}

// ofWeb reports whether a redirect URI leads to a server (OpenID Connect Registration 1.0 §2).
func ofWeb(uri string) bool {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return false
	}
	name := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	addr, err := netip.ParseAddr(name)
	return name != "localhost" && !strings.HasSuffix(name, ".localhost") && (err != nil || !addr.IsLoopback())
}
