package config

import (
	"crypto/sha256"
	"encoding/hex"
)

// registrations checks the initial access tokens.
func (k *checker) registrations() {
	names, hashes := make(map[string]string), make(map[string]string)
	for i := range k.DynamicRegistration.InitialTokens {
		t, path := &k.DynamicRegistration.InitialTokens[i], index("registration.initial_tokens", i)
		k.unique(names, join(path, "name"), t.Name)
		if t.Name != "" && !clientID.MatchString(t.Name) {
			k.report(join(path, "name"), "%q is not 1 to 255 printable ASCII characters without space and colon", t.Name)
		}
		switch hash := join(path, "sha256"); {
		case t.SHA256 == [32]byte{}: // reported as missing, or malformed
		case t.SHA256 == sha256.Sum256(nil):
			k.report(hash, "is the hash of the empty string, not of a token")
		default:
			k.unique(hashes, hash, hex.EncodeToString(t.SHA256[:]))
		}
		if len(t.Domains) == 0 {
			k.report(join(path, "domains"), "is empty: name the domains that the clients may serve")
		}
		for j, name := range t.Domains {
			k.knownDomain(index(join(path, "domains"), j), name, t.Domains)
		}
		if len(t.Grants) == 0 {
			k.report(join(path, "grants"), "is empty: a client without a grant could do nothing")
		}
		for j, r := range t.Resources {
			k.resource(index(join(path, "resources"), j), r)
		}
		k.between(join(path, "clients"), t.Clients, 1, 100_000)
	}
}
