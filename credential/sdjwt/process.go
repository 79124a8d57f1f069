package sdjwt

import (
	"slices"
	"strings"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/internal/jose"
)

// process finds the digests in the payload and in disclosures, and makes the claims of them (RFC 9901 §7.1, steps 2d, 3, 4 and 5).
func (t *Token) process() error {
	p := processor{disclosures: t.disclosures}
	for i := range t.disclosures {
		if p.find(t.disclosures[i].Digest) < i {
			return refuse(disclosureName(i), credential.CodeDisclosure, "there twice")
		}
	}
	claims, err := p.members(string(t.jws.Payload), 1)
	if err != nil {
		return malformed("payload", err)
	}
	// Step 5: each disclosure has its digest.
	for i := range t.disclosures {
		if !t.disclosures[i].used {
			return refuse(disclosureName(i), credential.CodeDisclosure, "its digest is not there")
		}
	}
	t.claims, t.hiding = claims, p.hiding
	return nil
}

// A member of an object has its value as JSON.
type member struct{ name, value string }

// A processor replaces digests by the claims and elements in their disclosures.
type processor struct {
	disclosures []Disclosure
	met         []string // the digests that were met
	claim       string   // the claim at the top level that is processed now
	hiding      []string // the claims at the top level in which digests were met
	deeper      bool     // a disclosure below the top level was met, so that values may be deeper than their own text
}

// members returns the members of an object, without digests and with the claims that are disclosed in it.
func (p *processor) members(raw string, depth int) ([]member, error) {
	if depth > maxDepth {
		return nil, tooDeep()
	}
	list := make([]member, 0, 12)
	var digests []string
	add := func(name, value string) error {
		if depth == 1 {
			p.claim = name
		}
		value, err := p.value(value, depth)
		list = append(list, member{name, value})
		return err
	}
	err := jose.ObjectText(raw, func(name, value string) (err error) {
		switch name {
		case digestsName:
			if digests, err = jose.Strings(value); err != nil {
				return refuse(name, credential.CodeDisclosure, "not an array of strings") // §4.2.4.1
			}
		case elementName:
			// §4.1, rule 7: it is reserved for elements of arrays, where it is alone.
			return refuse(name, credential.CodeDisclosure, "not the only member of an element of an array")
		case algorithmName:
			return checkAlgorithm(value, depth)
		default:
			return add(name, value)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, digest := range digests {
		if depth == 1 {
			p.claim = ""
		}
		i, err := p.meet(digest)
		if err != nil {
			return nil, err
		}
		if i < 0 {
			continue
		}
		d := &p.disclosures[i]
		// Step 3c(ii) and §4.1.1.
		switch {
		case d.element:
			return nil, refuse(disclosureName(i), credential.CodeDisclosure, "of an element of an array, but its digest is in an object")
		case d.Name == digestsName, d.Name == elementName, d.Name == algorithmName:
			return nil, refuse(disclosureName(i), credential.CodeDisclosure, "of the reserved name %s", d.Name)
		case slices.ContainsFunc(list, func(m member) bool { return m.name == d.Name }):
			return nil, refuse(disclosureName(i), credential.CodeDisclosure, "of a claim that is there already")
		}
		d.Claim = p.claim
		if depth == 1 {
			d.Claim = d.Name
		} else {
			p.deeper = true
		}
		if err := malformed(disclosureName(i), add(d.Name, string(d.Value))); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// value returns the value of a member or an element without digests. The depth is that of the object or array that it is in.
func (p *processor) value(raw string, depth int) (string, error) {
	if !p.deeper && !mayHide(raw) {
		return raw, nil
	}
	switch raw[0] {
	case '{':
		list, err := p.members(raw, depth+1)
		return string(object(list)), err
	case '[':
		list, err := p.elements(raw, depth+1)
		return "[" + strings.Join(list, ",") + "]", err
	}
	return raw, nil
}

// mayHide reports whether JSON may have a reserved name, perhaps written with escapes. Most values have none.
func mayHide(raw string) bool {
	return strings.IndexByte(raw, '\\') >= 0 || strings.Contains(raw, digestsName) || strings.Contains(raw, elementName)
}

// object returns the object that has the members.
func object(list []member) []byte {
	b := []byte{'{'}
	for i, m := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(appendString(b, m.name), ':'), m.value...)
	}
	return append(b, '}')
}

// elements returns the elements of an array that are in the clear or disclosed.
func (p *processor) elements(raw string, depth int) ([]string, error) {
	if depth > maxDepth {
		return nil, tooDeep()
	}
	var list []string
	err := jose.ArrayText(raw, func(value string) error {
		digest, hidden, err := elementDigest(value)
		if err != nil {
			return err
		}
		if hidden {
			i, err := p.meet(digest)
			if err != nil || i < 0 {
				return err // step 3d: an element without disclosure is removed
			}
			d := &p.disclosures[i]
			if !d.element { // step 3c(iii)
				return refuse(disclosureName(i), credential.CodeDisclosure, "of a member of an object, but its digest is in an array")
			}
			d.Claim, value, p.deeper = p.claim, string(d.Value), true
		}
		value, err = p.value(value, depth)
		list = append(list, value)
		return err
	})
	return list, err
}

func tooDeep() error {
	return refuse("payload", credential.CodeTooLarge, "nested more than %d levels deep, with its disclosures", maxDepth)
}

// elementDigest reports whether an element of an array is hidden, and returns its digest (RFC 9901 §4.2.4.2).
func elementDigest(value string) (digest string, hidden bool, err error) {
	if value[0] != '{' {
		return "", false, nil
	}
	members := 0
	err = jose.ObjectText(value, func(name, value string) (err error) {
		members++
		if name == elementName {
			hidden = true
			if digest, err = jose.String(value); err != nil {
				return refuse(elementName, credential.CodeDisclosure, "not a string")
			}
		}
		return nil
	})
	if err == nil && hidden && members > 1 {
		err = refuse(elementName, credential.CodeDisclosure, "not the only member of an element of an array")
	}
	return digest, hidden, err
}

// meet notes a digest and returns the index of its disclosure, -1 if there is none. A decoy looks like any other digest (§4.2.5).
func (p *processor) meet(digest string) (int, error) {
	if !jose.IsThumbprint(digest) { // the form of every SHA-256 in base64url
		return 0, refuse(digestsName, credential.CodeDisclosure, "a digest is not a SHA-256 in base64url")
	}
	// Step 4.
	if slices.Contains(p.met, digest) {
		return 0, refuse(digestsName, credential.CodeDisclosure, "a digest is there twice")
	}
	p.met = append(p.met, digest)
	if p.claim != "" {
		p.hiding = append(p.hiding, p.claim)
	}
	i := p.find(digest)
	if i >= 0 {
		p.disclosures[i].used = true
	}
	return i, nil
}

// find returns the index of the first disclosure with a digest, -1 if there is none.
func (p *processor) find(digest string) int {
	return slices.IndexFunc(p.disclosures, func(d Disclosure) bool { return d.Digest == digest })
}

// checkAlgorithm checks the claim _sd_alg (RFC 9901 §4.1.1).
func checkAlgorithm(raw string, depth int) error {
	name, err := jose.String(raw)
	switch {
	case depth > 1:
		return refuse(algorithmName, credential.CodeDisclosure, "not at the top level")
	case err != nil:
		return refuse(algorithmName, credential.CodeMalformed, "not a string")
	case name != "sha-256":
		return refuse(algorithmName, credential.CodeAlgorithm, "not sha-256")
	}
	return nil
}
