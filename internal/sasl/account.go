package sasl

import "github.com/imidentity/issuer/claims"

// accountOf returns the account at the chat server of domain that a token is for. Handle and user are those of the introspection
// answer. The handle may be missing.
//
// Identifiers of the systems xmpp and sip are accounts by themselves. If followHandles is set, a handle of another system is the
// XMPP account of that name.
func accountOf(handle, user, domain string, followHandles bool) (claims.ID, error) {
	var account claims.ID
	for _, uri := range []string{handle, user} {
		id, err := claims.Parse(uri)
		switch {
		case uri == "":
		case err != nil && uri == handle:
			return claims.ID{}, refuse(codeToken, "The handle of the token is not a URI of instant messaging.")
		case err != nil: // a service, or a pairwise id
		case id.Domain() != domain:
			return claims.ID{}, refuse(codeToken, "The token is for a user of another domain.")
		case id.System() == claims.SystemXMPP, id.System() == claims.SystemSIP:
			if id.Type() != claims.TypeHandle || !account.IsZero() && !account.Equal(id) {
				return claims.ID{}, refuse(codeToken, "The handle and the user of the token are not one account.")
			}
			account = id
		case uri == handle && followHandles:
			// Case does not count in XMPP, and some characters are not allowed: there, two handles might be one account.
			named, err := parseAccount(claims.SystemXMPP, id.Local()+"@"+domain)
			if err != nil || named.Local() != id.Local() {
				return claims.ID{}, refuse(codeToken, "The handle of the token cannot be the name of an account.")
			}
			return named, nil
		}
	}
	switch {
	case !account.IsZero():
		return account, nil
	case handle == "":
		return claims.ID{}, refuse(codeScope, "The token names no handle.")
	}
	return claims.ID{}, refuse(codeToken, "The handle of the token is not an account of this server.")
}

// parseAccount reads the account that a client asks for: a bare JID, or a SIP URI for a server with such accounts.
func parseAccount(system claims.System, text string) (claims.ID, error) {
	id, err := claims.Parser{Reading: claims.Lenient}.ParseNative(system, text)
	if err != nil || id.Type() != claims.TypeHandle {
		return claims.ID{}, &Refusal{InvalidAuthzid, codeRequest, "The requested account is not well-formed, as in alice@example.com."}
	}
	return id, nil
}
