package config

import "slices"

// impersonal lists claims that are not text, differ between logins, or are the same for all users (OpenID Connect Core 1.0 §2
// and §5.1).
var impersonal = []string{
	"iss", "aud", "azp", "exp", "iat", "nbf", "auth_time", "nonce", "acr", "amr", "at_hash", "c_hash", "sid",
	"email_verified", "phone_number_verified", "updated_at", "address",
}

// scopeOf has the scope of each claim that a provider may leave out unless that scope is requested (OpenID Connect Core 1.0
// §5.4).
var scopeOf = map[string]string{
	"name": "profile", "family_name": "profile", "given_name": "profile", "middle_name": "profile", "nickname": "profile",
	"preferred_username": "profile", "profile": "profile", "website": "profile", "email": "email", "phone_number": "phone",
}

// Warnings returns what is valid in the settings but hardly intended, such as claims with which every login is refused.
func (c *Config) Warnings() Errors {
	if c.source == nil {
		return nil
	}
	return c.source.warned
}

// claims warns of claims that cannot serve as user id or handle, or only for one user.
func (k *checker) claims(path string, d *Domain) {
	if d.Claims.User != "" && d.System != "xmpp" {
		key := join(path, "claims.user")
		k.personal(key, d, d.Claims.User, "user id")
		if d.System == "wire" && scopeOf[d.Claims.User] != "" {
			k.warn(key, "every login is refused: user ids of Wire are UUIDs, and %s is none", d.Claims.User)
		}
	}
	if !d.ChooseHandle { // otherwise users can choose one
		k.personal(join(path, "claims.handle"), d, d.Claims.Handle, "handle")
	}
}

// personal warns of a claim whose value does not name a user.
func (k *checker) personal(key string, d *Domain, claim, what string) {
	switch scope := scopeOf[claim]; {
	case claim == "email":
		k.warn(key, "every login is refused: an email address contains @, and no %s does", what)
	case slices.Contains(impersonal, claim):
		k.warn(key, "logins are refused: %s is not the name of a person, and cannot be the %s", claim, what)
	case scope != "":
		for _, p := range d.Providers {
			if !slices.Contains(p.Scopes, scope) {
				k.warn(key, "logins at provider %s are refused if it gives no %s without the scope %s: add that to its scopes",
					p.ID, claim, scope)
			}
		}
	}
}
