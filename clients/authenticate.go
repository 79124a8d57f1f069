package clients

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"github.com/imidentity/issuer/internal/oautherror"
)

// Authenticate returns the client that sent a request to an endpoint for programs. A client authenticates by an assertion
// (RFC 7521 §4.2), by HTTP Basic, by parameters of the form (RFC 6749 §2.3.1) or, if it is public, by client_id alone. Anything
// else is an [*oautherror.Error] with invalid_client: the same one for an unknown client, a wrong secret and a wrong key. Any other
// error means that this cannot be known now.
//
// An assertion is valid once. The caller spends it when every other check has passed, and before the request has an effect.
// The assertion is nil if the client authenticated in another way.
func (r *Registry) Authenticate(ctx context.Context, header http.Header, form url.Values) (*Client, *Assertion, error) {
	for _, name := range []string{"client_id", "client_secret", "client_assertion", "client_assertion_type"} {
		if len(form[name]) > 1 { // RFC 6749 §3.2
			return nil, nil, oautherror.New(oautherror.InvalidRequest, "The parameter "+name+" is repeated.")
		}
	}
	if form.Has("client_assertion") || form.Has("client_assertion_type") {
		return r.byAssertion(ctx, header, form)
	}
	id, secret, basic, err := credentials(header, form)
	if err != nil {
		return nil, nil, err
	}
	client, known := r.Client(id)
	want, old := noSecret[:], noSecret[:]
	if known && client.SecretSHA256 != nil {
		want = client.SecretSHA256
		if client.OldSecretSHA256 != nil && r.now().Before(client.OldSecretUntil) {
			old = client.OldSecretSHA256
		}
	}
	got := sha256.Sum256([]byte(secret))
	match := subtle.ConstantTimeCompare(got[:], want)|subtle.ConstantTimeCompare(got[:], old) == 1
	switch {
	case known && client.Public() && secret == "" && !basic:
		return client, nil, nil
	case known && client.SecretSHA256 != nil && match:
		return client, nil, nil
	case known && client.Public() && secret == "": // that a client is public is no secret: anybody can use its id
		return nil, nil, &oautherror.Error{Code: oautherror.InvalidClient, Description: publicByBasic, Basic: true}
	}
	return nil, nil, &oautherror.Error{Code: oautherror.InvalidClient, Description: unknownClient, Basic: basic}
}

const publicByBasic = "The client is registered without a secret: send client_id in the body, and no Authorization header."

const unknownClient = "The client is unknown or its credentials are wrong."

// noSecret stands in for the hash of a client that has none: no text that a request can carry hashes to it.
var noSecret [sha256.Size]byte

// credentials reads the one way in which a request names its client. In HTTP Basic, id and secret are
// form-url-encoded first (RFC 6749 §2.3.1, appendix B): many clients encode "-", "_" and "." too.
func credentials(header http.Header, form url.Values) (id, secret string, basic bool, err error) {
	auth := header.Values("Authorization")
	_, posted := form["client_secret"]
	switch {
	case len(auth) > 1:
		return "", "", false, oautherror.New(oautherror.InvalidRequest, "There is more than one Authorization header.")
	case len(auth) == 1 && posted:
		return "", "", false, oautherror.New(oautherror.InvalidRequest,
			"The client authenticates twice: use either HTTP Basic or client_secret.")
	case len(auth) == 0 && form.Get("client_id") == "":
		return "", "", false, oautherror.New(oautherror.InvalidClient, "The request names no client: send client_id, or authenticate.")
	case len(auth) == 0:
		return form.Get("client_id"), form.Get("client_secret"), false, nil
	}
	malformed := &oautherror.Error{Code: oautherror.InvalidClient, Description: "The Authorization header is not well-formed HTTP Basic: " +
		"form-url-encode the client id and the secret, join " +
		"them by a colon, and encode that in base64.", Basic: true}
	scheme, rest, _ := strings.Cut(auth[0], " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", true, malformed
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimLeft(rest, " "))
	if err != nil {
		return "", "", true, malformed
	}
	id, secret, ok := strings.Cut(string(raw), ":")
	if !ok {
		return "", "", true, malformed
	}
	if id, err = url.QueryUnescape(id); err != nil {
		return "", "", true, malformed
	}
	if secret, err = url.QueryUnescape(secret); err != nil {
		return "", "", true, malformed
	}
	if posted := form.Get("client_id"); posted != "" && posted != id {
		return "", "", true, oautherror.New(oautherror.InvalidRequest, "The client_id of the body and of the Authorization header differ.")
	}
	return id, secret, true, nil
}
