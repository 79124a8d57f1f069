package mls

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/internal/jose"
)

var (
	errText = errors.New("not an SD-JWT with key binding: a JWT of three parts, each disclosure, and a key binding of three parts, with " +
		"tildes between them")
	errMany = fmt.Errorf("more than %d", MaxDisclosures)
)

// A jwtParts is an SD-JWT with key binding (RFC 9901 §4), cut into its parts. All are text.
type jwtParts struct {
	protected, payload, signature string
	disclosures                   []string
	binding                       string // a JWS in compact serialization
}

// splitJWT cuts text into its parts. It checks the characters and the number of parts, and no more.
func splitJWT(text string) (jwtParts, error) {
	var p jwtParts
	if err := checkSize("sd_jwt_kb", len(text), MaxToken); err != nil {
		return p, err
	}
	parts := strings.Split(text, "~")
	last := len(parts) - 1
	if last == 0 || !isJWS(parts[0]) {
		return p, fault("sd_jwt_kb", credential.CodeMalformed, errText)
	}
	if parts[last] == "" { // draft-mahy-mls-sd-cwt-credential-02 §3.2: it must be there
		return p, fault("sd_jwt_kb", credential.CodeNoBinding, nil)
	}
	if !isJWS(parts[last]) {
		return p, fault("sd_jwt_kb", credential.CodeMalformed, errText)
	}
	jws := strings.Split(parts[0], ".")
	p = jwtParts{jws[0], jws[1], jws[2], parts[1:last], parts[last]}
	if len(p.disclosures) > MaxDisclosures {
		return p, fault("disclosures", credential.CodeTooLarge, errMany)
	}
	for _, d := range p.disclosures {
		if !isBase64(d) {
			return p, fault("sd_jwt_kb", credential.CodeMalformed, errText)
		}
	}
	return p, nil
}

// String returns the text of the whole.
func (p jwtParts) String() string {
	jws := p.protected + "." + p.payload + "." + p.signature
	return strings.Join(append(append([]string{jws}, p.disclosures...), p.binding), "~")
}

// isJWS reports whether s has the form of a JWS in compact serialization.
func isJWS(s string) bool {
	parts := strings.Split(s, ".")
	return len(parts) == 3 && isBase64(parts[0]) && isBase64(parts[1]) && isBase64(parts[2])
}

// isBase64 reports whether s is one or more characters of base64url.
func isBase64(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}

// readJWT reads the structure SdJwt (draft-mahy-mls-sd-cwt-credential-02 §3.2).
func (c *Credential) readJWT(s *cryptobyte.String) error {
	var compacted uint8
	if !s.ReadUint8(&compacted) {
		return fault("compacted", credential.CodeMalformed, errTruncated)
	}
	switch compacted {
	case 0:
		text, err := readBytes(s, "sd_jwt_kb", MaxToken)
		if err != nil {
			return err
		}
		c.JWT = string(text)
		_, err = splitJWT(c.JWT)
		return err
	case 1:
		c.Compacted = true
		return c.readCompacted(s)
	}
	return fault("compacted", credential.CodeMalformed, errBool)
}

// readCompacted reads the fields of the compacted form: the parts of the JWT and each disclosure without base64url. The draft leaves two
// things open. A disclosure is read as a vector, and the key binding as text: its three parts have no base64url form as a whole.
func (c *Credential) readCompacted(s *cryptobyte.String) error {
	var p jwtParts
	for _, f := range []struct {
		name string
		to   *string
	}{{"protected", &p.protected}, {"payload", &p.payload}, {"signature", &p.signature}} {
		field, err := readBytes(s, f.name, MaxToken)
		if err != nil {
			return err
		}
		*f.to = base64.RawURLEncoding.EncodeToString(field)
	}
	list, err := readVector(s)
	if err != nil {
		return fault("disclosures", credential.CodeMalformed, err)
	}
	for rest := cryptobyte.String(list); !rest.Empty(); {
		if len(p.disclosures) == MaxDisclosures {
			return fault("disclosures", credential.CodeTooLarge, errMany)
		}
		one, err := readBytes(&rest, "disclosures", MaxToken)
		if err != nil {
			return err
		}
		p.disclosures = append(p.disclosures, base64.RawURLEncoding.EncodeToString(one))
	}
	binding, err := readVector(s)
	switch {
	case err != nil:
		return fault("sd_jwt_key_binding", credential.CodeMalformed, err)
	case len(binding) == 0:
		return fault("sd_jwt_key_binding", credential.CodeNoBinding, nil)
	case !isJWS(string(binding)):
		return fault("sd_jwt_key_binding", credential.CodeMalformed, errText)
	}
	p.binding = string(binding)
	c.JWT = p.String()
	return checkSize("sd_jwt", len(c.JWT), MaxToken)
}

func (c *Credential) addJWT(b *cryptobyte.Builder) error {
	p, err := splitJWT(c.JWT)
	if err != nil {
		return err
	}
	if !c.Compacted {
		b.AddUint8(0)
		addVector(b, []byte(c.JWT))
		return nil
	}
	b.AddUint8(1)
	for _, f := range []struct{ name, text string }{{"protected", p.protected}, {"payload", p.payload}, {"signature", p.signature}} {
		if err := addDecoded(b, f.name, f.text); err != nil {
			return err
		}
	}
	list := cryptobyte.NewBuilder(nil)
	for _, d := range p.disclosures {
		if err := addDecoded(list, "disclosures", d); err != nil {
			return err
		}
	}
	addVector(b, list.BytesOrPanic())
	addVector(b, []byte(p.binding))
	return nil
}

// addDecoded appends the vector of the bytes that text stands for. Text that no bytes are written as cannot be compacted.
func addDecoded(b *cryptobyte.Builder, part, text string) error {
	v, err := jose.DecodeBase64(text)
	if err != nil {
		return fault(part, credential.CodeMalformed, err)
	}
	addVector(b, v)
	return nil
}
