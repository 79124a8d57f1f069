package cli

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

type credentialShowCmd struct {
	File string `arg:"" help:"File with a credential or a presentation; - reads it from standard input."`
	JSON bool   `name:"json" help:"Print JSON."`
}

func (*credentialShowCmd) Help() string {
	return `It decodes a credential or a presentation, and checks nothing: neither the signatures, nor the time, nor whether the credential has
ended. issuer credential verify does that.

    issuer credential show credential.txt
    issuer credential show - --json < presentation.txt

A CWT is shown in the diagnostic notation of CBOR, be it a credential, a presentation or an access token. The file has it in base64url.

JSON is {"header", "claims", "disclosures": [{"digest", "name", "value", "signed"}], "key_binding": {"header", "claims"}}. A
disclosure is signed if the claims hold its digest. Of a CWT, JSON is {"diagnostic"}.`
}

// An envelope is the content of an SD-JWT (RFC 9901 §4), of which nothing was checked.
type envelope struct {
	Header      json.RawMessage `json:"header"`
	Claims      json.RawMessage `json:"claims"`
	Disclosures []disclosure    `json:"disclosures"`
	Binding     *binding        `json:"key_binding,omitempty"`
}

// A disclosure is a claim that the holder may show or hide.
type disclosure struct {
	Digest string          `json:"digest"`
	Name   string          `json:"name,omitempty"` // empty for an element of an array
	Value  json.RawMessage `json:"value"`
	Signed bool            `json:"signed"` // the claims, or another disclosure, hold the digest
}

// A binding is a key binding JWT.
type binding struct {
	Header json.RawMessage `json:"header"`
	Claims json.RawMessage `json:"claims"`
}

func (c *credentialShowCmd) Run(s *streams) error {
	text, err := s.read(c.File)
	if err != nil {
		return usage("read the credential: %w", err)
	}
	if data, ok := readCWT(text); ok {
		return c.showCWT(s, data)
	}
	e, err := openEnvelope(text)
	switch {
	case err != nil:
		return refused("%s: %w", c.File, err)
	case c.JSON:
		return printJSON(s, e)
	}
	return e.print(s.out)
}

// openEnvelope decodes an SD-JWT.
func openEnvelope(text string) (e envelope, err error) {
	parts := strings.Split(text, "~")
	if len(parts) < 2 {
		return e, errors.New("not an SD-JWT: it has no \"~\"")
	}
	if e.Header, e.Claims, err = decodeJWT(parts[0]); err != nil {
		return e, fmt.Errorf("not an SD-JWT: its first part is %w", err)
	}
	e.Disclosures = []disclosure{}
	for i, part := range parts[1 : len(parts)-1] {
		d, err := readDisclosure(part)
		if err != nil {
			return e, fmt.Errorf("not an SD-JWT: disclosure %d: %w", i+1, err)
		}
		e.Disclosures = append(e.Disclosures, d)
	}
	for i := range e.Disclosures {
		e.Disclosures[i].Signed = e.holds(e.Disclosures[i].Digest)
	}
	if last := parts[len(parts)-1]; last != "" {
		e.Binding = new(binding)
		if e.Binding.Header, e.Binding.Claims, err = decodeJWT(last); err != nil {
			return e, fmt.Errorf("not an SD-JWT: its key binding is %w", err)
		}
	}
	return e, nil
}

// holds reports whether the claims, or another disclosure, hold a digest.
func (e *envelope) holds(digest string) bool {
	quoted := []byte(`"` + digest + `"`)
	return bytes.Contains(e.Claims, quoted) ||
		slices.ContainsFunc(e.Disclosures, func(d disclosure) bool { return bytes.Contains(d.Value, quoted) })
}

// readDisclosure decodes the disclosure of a member of an object, or of an element of an array (RFC 9901 §4.2.1, §4.2.2).
func readDisclosure(text string) (d disclosure, err error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return d, errors.New("not base64url")
	}
	var array []json.RawMessage
	if err := json.Unmarshal(raw, &array); err != nil || len(array) != 2 && len(array) != 3 {
		return d, errors.New("not an array of salt, name and value")
	}
	if len(array) == 3 {
		if err := json.Unmarshal(array[1], &d.Name); err != nil {
			return d, errors.New("its name is not a string")
		}
	}
	d.Value = array[len(array)-1]
	sum := sha256.Sum256([]byte(text))
	d.Digest = base64.RawURLEncoding.EncodeToString(sum[:])
	return d, nil
}

func (e *envelope) print(out io.Writer) error {
	fmt.Fprintln(out, "Nothing of this is checked: anyone could have written it.")
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w)
	err := errors.Join(printMembers(w, "header", e.Header), printMembers(w, "claims", e.Claims))
	for _, d := range e.Disclosures {
		title := "disclosure of the digest " + d.Digest
		if !d.Signed {
			title = "disclosure without a digest in the claims"
		}
		fmt.Fprintf(w, "%s\n  %s\t%s\n", title, printable(cmp.Or(d.Name, "(element)")), member{d.Name, d.Value}.words(time.Now()))
	}
	if e.Binding != nil {
		err = errors.Join(err, printMembers(w, "key binding, header", e.Binding.Header),
			printMembers(w, "key binding, claims", e.Binding.Claims))
	}
	return errors.Join(err, w.Flush())
}
