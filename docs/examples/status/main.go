// Command status verifies an access token and then looks up in the status list of its issuer whether its session has ended. It asks
// the issuer nothing about the token: one list serves all tokens.
//
// The argument is the token. Environment variables: ISSUER, and DOMAIN, the domain that the issuer may speak for. Exit codes: 0 the
// token is valid, 1 it is not, 3 this cannot be known now.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/trust"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: status TOKEN")
		os.Exit(2)
	}
	v, err := newVerifier(os.Getenv("ISSUER"), os.Getenv("DOMAIN"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	err = v.verify(context.Background(), os.Args[1])
	var status *statuslist.StatusError
	switch {
	case err == nil:
		fmt.Println("valid")
	case errors.As(err, &status), errors.Is(err, errToken):
		fmt.Println("not valid:", err)
		os.Exit(1)
	default:
		fmt.Println("cannot know:", err)
		os.Exit(3)
	}
}

// A verifier verifies the access tokens of one issuer. A service makes one and keeps it: the lists and keys are cached there.
type verifier struct {
	issuer string
	keys   *trust.Table
	lists  *statuslist.Reader
}

func newVerifier(issuer, domain string) (*verifier, error) {
	// Only for an issuer on this machine. In production leave out the two clients, Development and AllowHTTP: the strictest
	// client is the default.
	local := &http.Client{Timeout: 10 * time.Second}
	keys, err := trust.NewTable(trust.Config{
		Peers: []trust.Peer{{Domain: domain, Issuer: issuer}}, Client: local, ForeignClient: local, Development: true,
	})
	if err != nil {
		return nil, err
	}
	lists, err := statuslist.NewReader(statuslist.ReaderConfig{Keys: keys, Client: local, AllowHTTP: true})
	if err != nil {
		return nil, err
	}
	return &verifier{issuer, keys, lists}, nil
}

var errToken = errors.New("not an access token of the issuer that is valid now")

// verify returns nil for a valid token, errToken or a *statuslist.StatusError for one that is not. Any other error means that this
// cannot be known now. A service checks `aud` and the proof, too: see the example offline.
func (v *verifier) verify(ctx context.Context, token string) error {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || parsed.Headers[0].ExtraHeaders[jose.HeaderType] != "at+jwt" {
		return errToken
	}
	key, _, err := v.keys.Key(ctx, v.issuer, parsed.Headers[0].KeyID)
	switch {
	case errors.Is(err, trust.ErrUnknownKey):
		return errToken
	case err != nil:
		return err
	}
	var claims jwt.Claims
	var more struct {
		Status json.RawMessage `json:"status"`
	}
	if parsed.Claims(key, &claims, &more) != nil || claims.Expiry == nil || claims.Validate(jwt.Expected{Issuer: v.issuer}) != nil {
		return errToken
	}
	// Now the status, of which nothing is known if the token has none.
	ref, err := statuslist.ParseReference(more.Status)
	if err != nil {
		return err
	}
	return v.lists.Check(ctx, v.issuer, ref)
}
