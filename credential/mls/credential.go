package mls

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/sdjwt"
)

// A Type is the type of a credential (RFC 9420 §17.5).
type Type uint16

// The types that the package knows.
const (
	Basic Type = 1 // a bare name; refused
	X509  Type = 2
	SDCWT Type = 5 // draft-mahy-mls-sd-cwt-credential-02 §6.1
	SDJWT Type = 6 // the same, §6.2
)

// String returns the name of the type, as in the registry of IANA.
func (t Type) String() string {
	switch t {
	case Basic:
		return "basic"
	case X509:
		return "x509"
	case SDCWT:
		return "sd_cwt"
	case SDJWT:
		return "sd_jwt"
	}
	return fmt.Sprintf("0x%04x", uint16(t))
}

// The sizes that [Parse] and [Credential.Marshal] accept.
const (
	MaxSize         = 64 << 10 // a whole credential
	MaxCertificates = 4
	MaxCertificate  = 8 << 10
	MaxToken        = sdjwt.MaxSize // an SD-JWT as text, or an SD-CWT, with its key binding
	MaxDisclosures  = sdjwt.MaxDisclosures
)

// A Credential is the structure Credential of MLS: what a leaf contains, not yet verified. It has the fields of its type alone.
type Credential struct {
	Type Type
	// Certificates are those of X509, each in DER. The first is the leaf's.
	Certificates [][]byte
	// CWT is the SD-CWT with key binding (SD-KBT) of SDCWT.
	CWT []byte
	// JWT is the SD-JWT with key binding of SDJWT, as text (RFC 9901 §4): the same for both forms on the wire.
	JWT string
	// Compacted says that JWT is written with its parts decoded from base64url, which is shorter. Some libraries read only the other
	// form.
	Compacted bool
}

func fault(part string, code credential.Code, err error) error {
	return &credential.Error{Part: part, Code: code, Err: err}
}

var (
	errTrailing = errors.New("bytes follow the credential")
	errNone     = errors.New("empty")
	errBool     = errors.New("neither 0 nor 1")
	errBasic    = errors.New("a basic credential is a bare name, which nothing proves")
	errUnknown  = errors.New("a type of credential that is not supported")
)

// Parse reads a Credential (RFC 9420 §5.3). It is strict: accepted bytes are those that [Credential.Marshal] writes. Whether the content
// is genuine is left to [Validate]. The error is a *[credential.Error] with [credential.CodeMalformed], [credential.CodeTooLarge] or,
// for a basic or unknown credential, [credential.CodeType].
func Parse(data []byte) (*Credential, error) {
	if len(data) > MaxSize {
		return nil, fault("", credential.CodeTooLarge, nil)
	}
	s := cryptobyte.String(data)
	var number uint16
	if !s.ReadUint16(&number) {
		return nil, fault("credential_type", credential.CodeMalformed, errTruncated)
	}
	c := &Credential{Type: Type(number)}
	var err error
	switch c.Type {
	case Basic:
		return nil, fault("credential_type", credential.CodeType, errBasic)
	case X509:
		err = c.readCertificates(&s)
	case SDCWT:
		c.CWT, err = readBytes(&s, "sd_kbt", MaxToken)
	case SDJWT:
		err = c.readJWT(&s)
	default:
		return nil, fault("credential_type", credential.CodeType, errUnknown)
	}
	if err != nil {
		return nil, err
	}
	if !s.Empty() {
		return nil, fault("", credential.CodeMalformed, errTrailing)
	}
	return c, nil
}

// readBytes reads a vector of at least one byte and at most max, and returns a copy.
func readBytes(s *cryptobyte.String, part string, max int) ([]byte, error) {
	v, err := readVector(s)
	if err == nil {
		err = checkSize(part, len(v), max)
	} else {
		err = fault(part, credential.CodeMalformed, err)
	}
	return bytes.Clone(v), err
}

// checkSize refuses parts that are empty or have more than max bytes.
func checkSize(part string, size, max int) error {
	switch {
	case size == 0:
		return fault(part, credential.CodeMalformed, errNone)
	case size > max:
		return fault(part, credential.CodeTooLarge, fmt.Errorf("%d bytes, at most %d", size, max))
	}
	return nil
}

func (c *Credential) readCertificates(s *cryptobyte.String) error {
	chain, err := readBytes(s, "certificates", MaxSize)
	if err != nil {
		return err
	}
	for rest := cryptobyte.String(chain); !rest.Empty(); {
		if len(c.Certificates) == MaxCertificates {
			return errChain
		}
		one, err := readBytes(&rest, "certificates", MaxCertificate)
		if err != nil {
			return err
		}
		c.Certificates = append(c.Certificates, one)
	}
	return nil
}

var errChain = fault("certificates", credential.CodeTooLarge, fmt.Errorf("more than %d", MaxCertificates))

// Marshal returns the bytes of the credential. The error is like one of [Parse]: what Parse would refuse is not written.
func (c *Credential) Marshal() ([]byte, error) {
	b := cryptobyte.NewBuilder(nil)
	b.AddUint16(uint16(c.Type))
	var err error
	switch c.Type {
	case Basic:
		return nil, fault("credential_type", credential.CodeType, errBasic)
	case X509:
		err = c.addCertificates(b)
	case SDCWT:
		if err = checkSize("sd_kbt", len(c.CWT), MaxToken); err == nil {
			addVector(b, c.CWT)
		}
	case SDJWT:
		err = c.addJWT(b)
	default:
		return nil, fault("credential_type", credential.CodeType, errUnknown)
	}
	if err != nil {
		return nil, err
	}
	return b.Bytes()
}

func (c *Credential) addCertificates(b *cryptobyte.Builder) error {
	if err := checkSize("certificates", len(c.Certificates), len(c.Certificates)); err != nil {
		return err
	}
	if len(c.Certificates) > MaxCertificates {
		return errChain
	}
	chain := cryptobyte.NewBuilder(nil)
	for _, one := range c.Certificates {
		if err := checkSize("certificates", len(one), MaxCertificate); err != nil {
			return err
		}
		addVector(chain, one)
	}
	addVector(b, chain.BytesOrPanic())
	return nil
}
