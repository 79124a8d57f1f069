package scim

// A document is a JSON object.
type document = map[string]any

// ServiceProviderConfig says which parts of SCIM are served (RFC 7643 §5).
func (s *Service) ServiceProviderConfig() any {
	unsupported := document{"supported": false}
	return document{
		"schemas":        []string{schemaProvider},
		"patch":          document{"supported": true},
		"bulk":           document{"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
		"filter":         document{"supported": true, "maxResults": MaxResults},
		"changePassword": unsupported,
		"sort":           unsupported,
		"etag":           document{"supported": true},
		"authenticationSchemes": []document{
			{"type": "oauthbearertoken", "name": "Bearer token", "description": "A token that the operator of the issuer has given out"},
			{"type": "oauth2", "name": "OAuth 2.0 with DPoP", "primary": true,
				"description": "An access token with scope scim, and a DPoP proof with each request (RFC 9449)"},
		},
		"meta": s.meta("ServiceProviderConfig", "/ServiceProviderConfig"),
	}
}

func (s *Service) meta(kind, path string) document {
	return document{"resourceType": kind, "location": s.base + path}
}

// ResourceType describes users (RFC 7643 §6).
func (s *Service) ResourceType() any {
	return document{
		"schemas": []string{schemaType}, "id": "User", "name": "User", "endpoint": "/Users", "description": "User Account",
		"schema": SchemaUser, "meta": s.meta("ResourceType", "/ResourceTypes/User"),
	}
}

// Schema describes the attributes of users that are stored (RFC 7643 §7).
func (s *Service) Schema() any {
	attribute := func(name, kind, description string, required bool, uniqueness string) document {
		return document{
			"name": name, "type": kind, "description": description, "multiValued": false, "required": required, "caseExact": false,
			"mutability": "readWrite", "returned": "default", "uniqueness": uniqueness,
		}
	}
	return document{
		"schemas": []string{schemaSchema}, "id": SchemaUser, "name": "User", "description": "User Account",
		"attributes": []document{
			attribute("userName", "string", "The handle of the user, with @ and the domain", true, "server"),
			attribute("active", "boolean", "Whether the user may sign in. Without it, all access ends", false, "none"),
		},
		"meta": s.meta("Schema", "/Schemas/"+SchemaUser),
	}
}

// ListOf is the ListResponse of one document.
func ListOf(doc any) any { return listResponse(1, 1, []any{doc}) }
