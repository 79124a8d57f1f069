package config

import (
	"slices"
	"strings"
)

// passing lists claims whose values change or pass to other people, beside those of scopeOf (OpenID Connect Core 1.0 §5.7; for upn and
// unique_name the claims reference of Microsoft Entra ID).
var passing = []string{
	"upn", "unique_name", "username", "user_name", "login", "login_hint", "mail", "emails", "phone", "verified_primary_email",
	"verified_secondary_email",
}

// unspecific lists claims that are the same for many users, or others in each token, beside those that are impersonal.
var unspecific = []string{
	"tid", "hd", "idp", "groups", "roles", "wids", "scp", "scope", "ver", "typ", "jti", "uti", "rh", "aio", "client_id", "amr", "locale",
	"zoneinfo", "gender", "birthdate", "_claim_names", "_claim_sources", "events",
}

// subjects checks the claims that identify the users of the providers of a domain.
func (k *checker) subjects(path string, providers []Provider) {
	first := make(map[string]string) // the claim of each issuer
	for i, p := range providers {
		key := join(index(path, i), "subject_claim")
		if k.bad[key] {
			continue
		}
		claim, is := p.SubjectClaim, func(list []string) bool {
			return slices.ContainsFunc(list, func(name string) bool { return strings.EqualFold(name, p.SubjectClaim) })
		}
		_, changes := scopeOf[strings.ToLower(claim)]
		switch {
		case claim == "sub":
		case claim == "" || len(claim) > 255 || strings.ContainsFunc(claim, func(r rune) bool { return r <= ' ' || r > '~' }):
			k.report(key, "%q is no name of a claim: 1 to 255 printable ASCII characters, such as oid", claim)
		case strings.EqualFold(claim, "sub"):
			k.report(key, "%q is not sub: names of claims are case-sensitive", claim)
		case changes, is(passing):
			k.report(key, "%q can change or pass to another person, who would get the account: use sub, or an id that the provider never "+
				"gives to another user, such as oid of Microsoft Entra ID", claim)
		case is(impersonal), is(unspecific):
			k.report(key, "%q does not identify a user: use sub, or an id that the provider never gives to another user", claim)
		case claim == "oid" && !slices.Contains(p.Scopes, "profile"):
			k.warn(key, "logins at provider %s are refused if it gives no oid without the scope profile: add that to its scopes", p.ID)
		}
		if other, known := first[p.Issuer]; !known {
			first[p.Issuer] = claim
		} else if other != claim {
			k.report(key, "%q is not %q, which identifies the users of the same issuer at another provider of the domain: users would be "+
				"mistaken for others", claim, other)
		}
	}
}
