package xsign

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
)

// algorithms are those that statements may be signed with.
var algorithms = []string{jose.ES256, jose.EdDSA}

// common are the claims that every statement has.
type common struct {
	iss, sub, jti string
	iat, exp      time.Time
}

// members returns the members of the common claims and more.
func (c *common) members(more ...jose.Member) []jose.Member {
	return append([]jose.Member{
		{Name: "iss", Text: &c.iss, Required: true}, {Name: "sub", Text: &c.sub, Required: true},
		{Name: "jti", Text: &c.jti, Required: true, Max: maxID}, {Name: "iat", Date: &c.iat, Required: true}, {Name: "exp", Date: &c.exp},
	}, more...)
}

// parse parses a statement of a type and verifies it by the key that must have signed it. A nil key is that in the header: then the
// statement is one of a master key. It returns the key and the payload, of which no claim is read yet.
func parse(text, typ string, key crypto.PublicKey) (crypto.PublicKey, []byte, error) {
	jws, err := jose.ParseCompact(text, jose.Limits{Total: MaxStatement})
	if err != nil {
		code, part := CodeMalformed, ""
		if at := (*jose.ParseError)(nil); errors.As(err, &at) {
			if part = at.Part; part == "size" {
				code, part = CodeTooLarge, ""
			}
			err = at.Err
		}
		return nil, nil, &Error{typ, part, code, err}
	}
	switch {
	case jws.Header.Typ != typ:
		return nil, nil, refuse(typ, "typ", CodeType, "not %s", typ)
	case !jose.Allows(algorithms, jws.Header.Alg):
		return nil, nil, refuse(typ, "alg", CodeAlgorithm, "neither ES256 nor EdDSA")
	case jws.Header.X5C != nil:
		return nil, nil, refuse(typ, "x5c", CodeKey, "certificates do not belong in a statement")
	case key != nil && jws.Header.JWK != nil:
		return nil, nil, refuse(typ, "jwk", CodeKey, "only statements of a master key have it")
	case key == nil && jws.Header.JWK == nil:
		return nil, nil, &Error{typ, "jwk", CodeKey, errMissing}
	}
	var thumbprint string
	if key == nil {
		if key, thumbprint, err = readKey(jws.Header.JWK); err != nil {
			return nil, nil, &Error{typ, "jwk", CodeKey, err}
		}
	} else if thumbprint, err = Thumbprint(key); err != nil {
		return nil, nil, &Error{typ, "", CodeKey, err}
	}
	if jws.Header.Kid != thumbprint {
		return nil, nil, refuse(typ, "kid", CodeKey, "not the thumbprint of the key that must sign")
	}
	if err := jws.Verify(jws.Header.Alg, key); err != nil {
		return nil, nil, refuse(typ, "", CodeSignature, "the signature does not verify")
	}
	return key, jws.Payload, nil
}

// read reads the claims of a verified statement, and checks those that all have. A life of zero is none: then exp is optional.
func (c *common) read(typ string, payload []byte, life time.Duration, more ...jose.Member) (issuer, subject claims.ID, err error) {
	if err := jose.ReadMembers(payload, c.members(more...)...); err != nil {
		code := CodeMalformed
		at, own := (*jose.ParseError)(nil), (*Error)(nil)
		if errors.As(err, &own) {
			return issuer, subject, own
		} else if errors.As(err, &at) {
			return issuer, subject, &Error{typ, at.Part, CodeClaim, at.Err}
		}
		return issuer, subject, &Error{typ, "", code, err}
	}
	if issuer, err = readUser(c.iss); err != nil {
		return issuer, subject, &Error{typ, "iss", CodeClaim, err}
	}
	if subject, err = readUser(c.sub); err != nil {
		return issuer, subject, &Error{typ, "sub", CodeClaim, err}
	}
	return issuer, subject, checkLife(typ, c.iat, c.exp, life)
}

func checkLife(typ string, iat, exp time.Time, life time.Duration) error {
	switch {
	case exp.IsZero() && life > 0:
		return &Error{typ, "exp", CodeLife, errMissing}
	case !exp.IsZero() && !exp.After(iat):
		return refuse(typ, "exp", CodeLife, "not after iat")
	case life > 0 && exp.Sub(iat) > life:
		return refuse(typ, "exp", CodeLife, "more than %d days after iat", life/(24*time.Hour))
	}
	return nil
}

// readUser reads the canonical URI of a user.
func readUser(text string) (claims.ID, error) {
	// The user is compared with that of the caller, so any domain will do.
	id, err := claims.ParseIdentity(claims.Parser{AllowSingleLabel: true}, text, "", "")
	return id.User, err
}

// readSeq reads a sequence number into to.
func readSeq(typ string, to *int64) jose.Member {
	return jose.Member{Name: "seq", Read: func(raw []byte) error {
		n, err := strconv.ParseInt(string(raw), 10, 64)
		if err != nil || n < 1 || n > maxSeq || strconv.FormatInt(n, 10) != string(raw) {
			return refuse(typ, "seq", CodeClaim, "not a whole number from 1")
		}
		*to = n
		return nil
	}}
}

// readKey reads a public key, and returns it with its thumbprint.
func readKey(raw []byte) (crypto.PublicKey, string, error) {
	key, err := jose.ParseJWK(raw)
	if err != nil {
		return nil, "", err
	}
	return key.Public, key.JKT, checkKey(key.Public)
}

func checkKey(key crypto.PublicKey) error {
	if !jose.Allows(algorithms, jose.AlgorithmFor(key)) {
		return errors.New("neither a P-256 nor an Ed25519 key")
	}
	if point, ok := key.(ed25519.PublicKey); ok && smallOrder(point) {
		return errors.New("an Ed25519 key by which anyone can sign")
	}
	return nil
}

// smallOrder reports whether a key is one of the points of small order, in whatever encoding (RFC 8032 §5.1.3): crypto/ed25519 accepts
// signatures by them that take no private key.
func smallOrder(key ed25519.PublicKey) bool {
	y := hex.EncodeToString(append(slices.Clone(key[:31]), key[31]&0x7f)) // without the sign of x
	return slices.Contains([]string{
		"0000000000000000000000000000000000000000000000000000000000000000", // order 4
		"0100000000000000000000000000000000000000000000000000000000000000", // order 1
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", // order 8
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", // order 8
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // p-1, order 2
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // p, which is 0
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // p+1, which is 1
	}, y)
}

// Thumbprint returns the thumbprint of a public key (RFC 7638), by which statements name keys. The error is about a key that is neither a
// P-256 nor an Ed25519 key, or a point of small order.
func Thumbprint(key crypto.PublicKey) (string, error) {
	if err := checkKey(key); err != nil {
		return "", err
	}
	return jose.Thumbprint(key)
}

// sign signs the claims of a statement.
func sign(signer crypto.Signer, typ string, master bool, payload any) (string, error) {
	kid, err := Thumbprint(signer.Public())
	if err != nil {
		return "", &Error{typ, "", CodeKey, err}
	}
	alg := jose.AlgorithmFor(signer.Public())
	header := fmt.Appendf(nil, `{"typ":"%s","alg":"%s","kid":"%s"`, typ, alg, kid)
	if master {
		jwk, err := jose.MarshalJWK(signer.Public())
		if err != nil {
			return "", fmt.Errorf("xsign: %w", err)
		}
		header = append(append(header, `,"jwk":`...), jwk...)
	}
	body, err := json.Marshal(payload)
	if err != nil {
		return "", fmt.Errorf("xsign: %w", err)
	}
	text, err := jose.Sign(signer, alg, append(header, '}'), body)
	if err != nil {
		return "", fmt.Errorf("xsign: %w", err)
	}
	return text, nil
}

// newID returns id, or a random one if it is empty.
func newID(id string) string {
	if id == "" {
		return strings.ToLower(rand.Text())
	}
	return id
}

// seconds returns the NumericDate of t, and zero for the zero time.
func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// hash returns the hash of a payload, by which a verifier notices two contents with one sequence number. The signature is not in it: one
// content may be signed again.
func hash(payload []byte) string {
	sum := sha256.Sum256(payload)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// account returns a key for an account: the im: and the mimi: URI of a user have the same, and so do those of a device and of a handle.
// Without it, an issuer could evade the pin of a user by the other URI.
func account(id claims.ID) string {
	if text := id.MIMI(); text != "" {
		return text
	}
	return id.String()
}

func same(a, b claims.ID) bool { return account(a) == account(b) }
