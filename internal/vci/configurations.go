package vci

import (
	"slices"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cert"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/storage"
)

// A configuration is a kind of credentials (OpenID4VCI 1.0 §12.2.4): how the metadata describes it, what it requires, and how a credential
// of it is made.
type configuration struct {
	id     string
	name   string // for people
	format credential.Format
	vct    string // appendix A.3.2; empty if the format has no types
	// binding is how a credential names the key that it is bound to.
	binding string
	// algorithms are those of key proofs by keys that a credential may be bound to. Nil means all that the issuer reads.
	algorithms []string
	// by are the algorithms of the issuer's signing key with which there is the configuration. Nil means all.
	by []string
	// listed says that each credential has an entry in a status list.
	listed bool
	// shape is the kind of certificate; empty if it is none.
	shape cert.Shape
	// make makes the credential for a key proof, as it stands in the JSON of the answer. The row has the subject, the key, the times, an
	// id, the handle of the user and, if the configuration is listed, an entry. It may be changed to what the credential says.
	make func(i *issuance, proof *dpop.KeyProof, row *storage.Credential) (any, error)
}

// configurations are all kinds of credentials that there are.
var configurations = append([]configuration{deviceVC, deviceCWT}, x5c...)

// Configurations are the ids of all credential configurations that an issuer may have.
func Configurations() []string {
	ids := make([]string, len(configurations))
	for i := range configurations {
		ids[i] = configurations[i].id
	}
	return ids
}

// configuration returns the configuration of an id, nil if the issuer has none.
func (s *Service) configuration(id string) *configuration {
	for i := range configurations {
		if c := &configurations[i]; c.id == id {
			if _, alg, _ := s.cfg.Keys.Signer(); s.has(c, alg) {
				return c
			}
		}
	}
	return nil
}

// has reports whether the issuer has a configuration while its signing key is for alg.
func (s *Service) has(c *configuration, alg string) bool {
	return (c.by == nil || jose.Allows(c.by, alg)) && (c.shape == "" || s.offered(c.shape))
}

// takes reports whether a key proof may be signed with an algorithm.
func (c *configuration) takes(alg string) bool {
	return c.algorithms == nil || jose.Allows(c.algorithms, alg)
}

// proofAlgorithms returns the algorithms of key proofs, of those that the issuer reads.
func (c *configuration) proofAlgorithms(read []string) []string {
	return slices.DeleteFunc(slices.Clone(read), func(alg string) bool { return !c.takes(alg) })
}
