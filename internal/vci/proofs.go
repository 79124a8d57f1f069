package vci

import (
	"context"
	"errors"
	"fmt"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/errtext"
)

// Nonce returns the newest c_nonce (OpenID4VCI 1.0 §7). An error means that the store of spent proofs does not answer.
func (s *Service) Nonce(ctx context.Context) (string, error) { return s.proofs.Nonce(ctx) }

// readProofs makes every check of the key proofs of a request of a client but that of their signatures. Each must be by another key.
func (s *Service) readProofs(ctx context.Context, kind *configuration, client string, texts []string) ([]*dpop.UnverifiedKeyProof, error) {
	proofs := make([]*dpop.UnverifiedKeyProof, len(texts))
	first := make(map[string]int, len(texts))
	for i, text := range texts {
		p, err := s.proofs.ReadKeyProof(ctx, text, s.cfg.Issuer)
		if err != nil {
			return nil, refusedProof(i, err)
		}
		if !kind.takes(p.Alg()) {
			return nil, refuse(InvalidProof, proofAt(i)+"this kind of credential is not bound to keys for "+p.Alg()+
				": the metadata lists the algorithms.")
		}
		if c := p.Client(); c != "" && c != client { // appendix F.1
			return nil, refuse(InvalidProof, proofAt(i)+"its iss is not the client of the access token.")
		}
		if j, twice := first[p.JKT()]; twice {
			return nil, refuse(InvalidProof,
				fmt.Sprintf("The key proofs %d and %d are by one key: each credential needs a key of its own.", j+1, i+1))
		}
		proofs[i], first[p.JKT()] = p, i
	}
	return proofs, nil
}

// verifyProofs verifies the signatures.
func verifyProofs(unverified []*dpop.UnverifiedKeyProof) ([]*dpop.KeyProof, error) {
	proofs := make([]*dpop.KeyProof, len(unverified))
	for i, u := range unverified {
		var err error
		if proofs[i], err = u.Verify(); err != nil {
			return nil, refusedProof(i, err)
		}
	}
	return proofs, nil
}

// refusedProof returns err as the refusal of key proof i, if it is one.
func refusedProof(i int, err error) error {
	var proof *dpop.ProofError
	switch {
	case !errors.As(err, &proof):
		return err
	case errors.Is(err, dpop.ErrUseNonce):
		return &Error{Code: InvalidNonce, Cause: err, Description: proofAt(i) + "its nonce is too old, or not one of this issuer: " +
			"get a new c_nonce at the nonce endpoint and make new key proofs."}
	case errors.Is(err, dpop.ErrReplayed):
		return &Error{Code: InvalidProof, Cause: err, Description: proofAt(i) + "it was used before: make a new one for each request."}
	}
	return &Error{Code: InvalidProof, Cause: err, Description: proofAt(i) + proof.Part + ": " + errtext.Clean(proof.Err.Error()) + "."}
}

// proofAt begins the description of what is wrong with key proof i.
func proofAt(i int) string { return fmt.Sprintf("Key proof %d is not valid: ", i+1) }
