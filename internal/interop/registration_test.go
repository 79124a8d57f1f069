package interop_test

import (
	"context"
	"testing"
)

// initialToken is an initial access token, and initialHash its SHA-256.
const (
	initialToken = "5d3a8f0f2f6f4a1c9b7e6d5c4b3a29181716151413121110f0e0d0c0b0a09080"
	initialHash  = "6f2a4fa5fc2eb8ae56feab9219ee073e74e5075eafdbe278a03c6fcf11be0a8f"
)

// registered is what registration.mjs prints.
const registered = `secret: client_secret_basic client_credentials introspect, secret true
secret: dpop token with scope introspect
secret: GET 200 Foreign service
secret: PUT 200 Another name
secret: DELETE 204 
secret: GET 401 invalid_token
app: none authorization_code im:handle im:device, secret false
app: authorization request 303
app: GET 200 
app: PUT 200 Another name
app: DELETE 204 
app: GET 401 invalid_token
no initial token: 401
`

// registration lets a program register itself that is not ours (RFC 7591, RFC 7592).
func registration(t *testing.T, ctx context.Context, issuer string) {
	script := node(t, ctx, "registration.mjs", map[string]string{"ISSUER": issuer, "INITIAL_TOKEN": initialToken})
	script.Stderr = t.Output()
	printed, err := script.Output()
	if err != nil || string(printed) != registered {
		t.Errorf("registration.mjs = %v and\n%s\nwant\n%s", err, printed, registered)
	}
}
