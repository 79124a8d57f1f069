package nested

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
)

// A SignFunc signs claims, which are JSON, as a token of type typ, and returns the compact serialization. The key ring of an issuer
// has such a method; [UserKey] makes one for a user's own key.
type SignFunc func(typ string, claims []byte) (string, error)

// UserKey returns a function that signs with a user's own key and puts the public key into the header. The algorithm follows from
// the key: ES256, ES384, EdDSA or PS256. Other keys are refused, because [Open] refuses them.
func UserKey(key crypto.Signer) (SignFunc, error) {
	if err := checkUserKey(key.Public()); err != nil {
		return nil, fmt.Errorf("nested: %w", err)
	}
	jwk, err := jose.MarshalJWK(key.Public())
	if err != nil {
		return nil, fmt.Errorf("nested: %w", err)
	}
	alg := jose.AlgorithmFor(key.Public())
	return func(typ string, claims []byte) (string, error) {
		header, err := json.Marshal(struct {
			Typ string          `json:"typ"`
			Alg string          `json:"alg"`
			JWK json.RawMessage `json:"jwk"`
		}{typ, alg, jwk})
		if err != nil {
			return "", err
		}
		return jose.Sign(key, alg, header, claims)
	}, nil
}

// Sign signs the statement. It first checks that the statement has all claims of its type and no others:
//
//	im-actor+jwt       Party, PartyIssuer, Scope, Handle    Party may act for Subject
//	im-delegation+jwt  JKT, Limits, Handle                  the key JKT is Subject's own and may sign statements
//	im-device+jwt      Device, Number, JKT                  Device, with the key JKT, belongs to Subject
//	im-link+jwt        Party, Handle                        Subject and Party are the same person
//	im-rename+jwt      Handle, OldHandle                    Subject has the handle Handle and had OldHandle
//	im-move+jwt        Party, Handle                        Subject is now Party
//	im-member+jwt      Party, Role                          Party belongs to Subject
//	im-guardian+jwt    Party, Handle                        Party is the guardian of Subject
//
// A statement that [Open] would refuse is not signed. If it would have more than [MaxToken] bytes, the error is an [*Error] with
// [CodeTooLarge]; if its audience exceeds [MaxAudience] or [MaxAudienceName], it is a [*claims.ClaimError] about aud.
//
// A statement signed by a user's own key has the user's URI as Issuer, and the delegation of that key in Tokens. An im-device+jwt
// is always signed like that; im-actor+jwt, im-link+jwt and im-delegation+jwt may be.
func (s Statement) Sign(sign SignFunc) (string, error) {
	if err := s.validate(claims.Parser{AllowSingleLabel: true}); err != nil {
		return "", fmt.Errorf("nested: statement: %w", err)
	}
	if s.Status != nil {
		return "", &Error{Code: CodeStatus}
	}
	if err := s.checkAudience(); err != nil {
		return "", fmt.Errorf("nested: statement: %w", err)
	}
	payload, err := s.payload()
	if err != nil {
		return "", fmt.Errorf("nested: statement: %w", err)
	}
	// A statement that cannot be read back is not signed.
	if _, err := parseStatement(kindOf(s.Type), payload); err != nil {
		return "", fmt.Errorf("nested: statement: %w", err)
	}
	// This is too large even without header and signature.
	if err := checkSize(base64.RawURLEncoding.EncodedLen(len(payload))); err != nil {
		return "", err
	}
	token, err := sign(s.Type, payload)
	if err != nil {
		return "", err
	}
	if err := checkSize(len(token)); err != nil {
		return "", err
	}
	return token, nil
}

// checkSize returns an error for a signed statement of more bytes than [Open] accepts.
func checkSize(n int) error {
	if n <= MaxToken {
		return nil
	}
	return &Error{Code: CodeTooLarge, Err: fmt.Errorf("a statement has at most %d bytes once it is signed", MaxToken)}
}

// checkAudience checks the limits on the audience.
func (s *Statement) checkAudience() error {
	if len(s.Audience) > MaxAudience {
		return &claims.ClaimError{Claim: "aud", Err: fmt.Errorf("more than %d names", MaxAudience)}
	}
	for _, name := range s.Audience {
		if name == "" || len(name) > MaxAudienceName {
			return &claims.ClaimError{Claim: "aud", Err: fmt.Errorf("a name that is empty or longer than %d bytes", MaxAudienceName)}
		}
	}
	return nil
}

// payload writes the claims. Claims that access tokens have too are written in the same form.
func (s *Statement) payload() ([]byte, error) {
	set := claims.Set{
		Issuer: s.Issuer, Subject: s.Subject, Handle: s.Handle, Device: s.Device, Audience: s.Audience, Scope: s.Scope,
		JTI: s.JTI, IssuedAt: s.IssuedAt, NotBefore: s.NotBefore, Expires: s.Expires, JKT: s.JKT, Tokens: s.Tokens,
		Status: s.Status,
	}
	party := s.Parties()
	if s.Type == TypeActor {
		set.MayAct = &claims.Actor{Subject: party.Actor, Issuer: party.ActorIssuer}
	}
	own := struct {
		SameAs    string  `json:"same_as,omitempty"`
		MovedTo   string  `json:"moved_to,omitempty"`
		Member    string  `json:"member,omitempty"`
		Guardian  string  `json:"guardian,omitempty"`
		Role      string  `json:"role,omitempty"`
		OldHandle string  `json:"old_handle,omitempty"`
		Number    int     `json:"number,omitempty"`
		Limits    *Limits `json:"limits,omitempty"`
	}{
		SameAs: party.SameAs, MovedTo: party.MovedTo, Member: party.Member, Guardian: party.Guardian,
		Role: s.Role, OldHandle: s.OldHandle, Number: s.Number, Limits: s.Limits,
	}
	rest, err := json.Marshal(own)
	if err != nil {
		return nil, err
	}
	payload := set.AppendJSON(nil)
	if bytes.Equal(rest, []byte("{}")) {
		return payload, nil
	}
	return append(append(payload[:len(payload)-1], ','), rest[1:]...), nil
}
