// Package interop runs the issuer's binary between programs that are not ours: people log in at npm oidc-provider, and
// openid-client, oauth4webapi, golang.org/x/oauth2 and the OAuth client of indigo, Bluesky's Go SDK, are the clients. All
// that these and the browser say to the issuer passes through package contract, which holds it to openapi.yaml. One of the
// clients runs in a page of another origin, in Chromium, which also goes through every page that people see.
//
// It is a module of its own, so that what only these tests need is not in the go.mod of those who import the issuer's
// packages. The npm packages are those of package-lock.json, a Node among them; `make setup` installs them.
package interop
