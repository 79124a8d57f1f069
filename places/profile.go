package places

import (
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
)

// MediaType is the type of a profile over HTTP.
const MediaType = "application/asp+jwt"

// The members of a profile.
const (
	memberVersion = "http://ariadne.id/version"
	memberType    = "http://ariadne.id/type"
	memberName    = "http://ariadne.id/name"
	memberClaims  = "http://ariadne.id/claims"
)

// A Profile names the places of a user. The user's master key signs it.
type Profile struct {
	// Name is what the user wants to be called. Nothing checks it.
	Name string
	// User is the user whose master key signs.
	User claims.ID
	// Places are those of known kinds.
	Places []Place
	// Other are claims that this package does not read, such as places of other kinds.
	Other []string
	// Expires is when the profile ends; zero for never.
	Expires time.Time
	// Master is the key that signs, which Sign takes from the signer.
	Master crypto.PublicKey

	fingerprint, thumbprint string
}

// Fingerprint returns the fingerprint of the master key of a parsed profile.
func (p *Profile) Fingerprint() string { return p.fingerprint }

// Thumbprint returns the thumbprint of the master key of a parsed profile, by which package xsign knows it.
func (p *Profile) Thumbprint() string { return p.thumbprint }

// Claims returns the claims of the profile.
func (p *Profile) Claims() []string {
	all := []string{p.User.String()}
	for _, place := range p.Places {
		all = append(all, place.URI)
	}
	return append(all, p.Other...)
}

// Sign signs the profile with the master key. The error is an [*Error] if [ParseProfile] would refuse the profile, or comes from the
// signer.
func (p *Profile) Sign(master crypto.Signer) (string, error) {
	fingerprint, err := Fingerprint(master.Public())
	if err != nil {
		return "", &Error{"jwk", CodeKey, err}
	}
	jwk, err := jose.MarshalJWK(master.Public())
	if err != nil {
		return "", fmt.Errorf("places: %w", err)
	}
	alg := jose.AlgorithmFor(master.Public())
	header := fmt.Appendf(nil, `{"typ":%q,"alg":%q,"kid":%q,"jwk":%s}`, jose.TypeProfile, alg, fingerprint, jwk)
	payload := struct {
		Version int      `json:"http://ariadne.id/version"`
		Type    string   `json:"http://ariadne.id/type"`
		Name    string   `json:"http://ariadne.id/name"`
		Claims  []string `json:"http://ariadne.id/claims"`
		Expires int64    `json:"exp,omitempty"`
	}{0, "profile", p.Name, p.Claims(), 0}
	if !p.Expires.IsZero() {
		payload.Expires = p.Expires.Unix()
	}
	body, err := json.Marshal(payload)
	if err != nil {
		return "", fmt.Errorf("places: %w", err)
	}
	text, err := jose.Sign(master, alg, header, body)
	if err != nil {
		return "", fmt.Errorf("places: %w", err)
	}
	_, err = ParseProfile(text)
	return text, err
}

// ParseProfile parses a profile, and verifies the signature by the master key that the profile itself names: the places decide whether that
// is the user's. It checks no time and no address. The error is an [*Error].
func ParseProfile(text string) (*Profile, error) {
	jws, err := jose.ParseCompact(text, jose.Limits{Total: MaxProfile})
	if err != nil {
		code, part := CodeMalformed, ""
		if at := (*jose.ParseError)(nil); errors.As(err, &at) {
			if part = at.Part; part == "size" {
				code, part = CodeTooLarge, ""
			}
			err = at.Err
		}
		return nil, &Error{part, code, err}
	}
	p := &Profile{}
	if err := p.readHeader(&jws.Header); err != nil {
		return nil, err
	}
	if err := jws.Verify(jws.Header.Alg, p.Master); err != nil {
		return nil, refuse("", CodeSignature, "the signature does not verify")
	}
	if err := p.readPayload(jws.Payload); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Profile) readHeader(h *jose.Header) error {
	switch {
	case h.Typ != jose.TypeProfile:
		return refuse("typ", CodeType, "not %s", jose.TypeProfile)
	case !jose.Allows(algorithms, h.Alg):
		return refuse("alg", CodeAlgorithm, "neither ES256 nor EdDSA")
	case h.X5C != nil:
		return refuse("x5c", CodeKey, "certificates do not belong in a profile")
	case h.JWK == nil:
		return &Error{"jwk", CodeKey, errMissing}
	}
	key, err := jose.ParseJWK(h.JWK)
	if err == nil {
		p.Master, p.thumbprint = key.Public, key.JKT
		p.fingerprint, err = Fingerprint(key.Public)
	}
	if err != nil {
		return &Error{"jwk", CodeKey, err}
	}
	if h.Kid != p.fingerprint {
		return refuse("kid", CodeKey, "not the fingerprint of the key in jwk")
	}
	return nil
}

func (p *Profile) readPayload(payload []byte) error {
	var version, typ string
	var list []string
	err := jose.ReadMembers(payload,
		jose.Member{Name: memberVersion, Read: func(raw []byte) error { version = string(raw); return nil }},
		jose.Member{Name: memberType, Text: &typ},
		jose.Member{Name: memberName, Text: &p.Name, Required: true, Max: maxName},
		jose.Member{Name: memberClaims, Read: func(raw []byte) (err error) { list, err = jose.Strings(raw); return err }},
		jose.Member{Name: "exp", Date: &p.Expires})
	if at := (*jose.ParseError)(nil); errors.As(err, &at) {
		return &Error{short(at.Part), CodeClaim, at.Err}
	}
	switch {
	case err != nil:
		return &Error{"payload", CodeMalformed, err}
	case typ != "profile":
		return refuse("type", CodeType, "not profile")
	case version != "0":
		return refuse("version", CodeVersion, "not 0")
	case list == nil:
		return &Error{"claims", CodeClaim, errMissing}
	case len(list) > MaxClaims:
		return refuse("claims", CodeTooMany, "more than %d claims", MaxClaims)
	}
	return p.readClaims(list)
}

// short is the name of a member without the place where it is defined.
func short(member string) string { return strings.TrimPrefix(member, "http://ariadne.id/") }

func (p *Profile) readClaims(list []string) error {
	seen := map[string]bool{}
	for i, claim := range list {
		part := fmt.Sprintf("claims[%d]", i)
		if len(claim) > maxClaim {
			return refuse(part, CodeClaim, "longer than %d bytes", maxClaim)
		}
		if isIdentifier(claim) {
			if !p.User.IsZero() {
				return refuse(part, CodeUser, "a second identifier")
			}
			var err error
			if p.User, err = readUser(claim); err != nil {
				return &Error{part, CodeUser, err}
			}
			continue
		}
		place, err := parsePlace(claim)
		if err == errOther {
			p.Other = append(p.Other, claim)
			continue
		}
		if err != nil {
			return within(part, err)
		}
		if seen[place.same()] {
			return refuse(part, CodeRepeated, "a place twice")
		}
		seen[place.same()] = true
		p.Places = append(p.Places, place)
	}
	switch {
	case p.User.IsZero():
		return refuse("claims", CodeUser, "no im: or mimi: URI of a user")
	case len(p.Places) > MaxPlaces:
		return refuse("claims", CodeTooMany, "more than %d places", MaxPlaces)
	}
	return nil
}

// isIdentifier reports whether a claim is meant as an identifier of instant messaging.
func isIdentifier(claim string) bool {
	scheme, _, _ := strings.Cut(claim, ":")
	return asciiFold(scheme, "im") || asciiFold(scheme, "mimi")
}

// readUser reads the canonical URI of a user.
func readUser(text string) (claims.ID, error) {
	// The user is compared with that of the caller, so any domain will do.
	id, err := claims.ParseIdentity(claims.Parser{AllowSingleLabel: true}, text, "", "")
	return id.User, err
}

// accountKey returns a key for an account: the im: and the mimi: URI of a user have the same.
func accountKey(id claims.ID) string {
	if text := id.MIMI(); text != "" {
		return text
	}
	return id.String()
}

func same(a, b claims.ID) bool { return accountKey(a) == accountKey(b) }
