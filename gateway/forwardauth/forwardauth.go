// Package forwardauth speaks with proxies that ask before they let a request through: nginx by auth_request, Caddy and Traefik by
// forward_auth, HAProxy, and Envoy by ext_authz over HTTP. It reads which request a proxy asks about, and writes the answer.
//
// A [Reader] finds the method and the public URL of the request in the headers of one kind of proxy. It believes listed addresses alone,
// and refuses what the proxy, the gateway and the service behind it could read in different ways. Package gateway decides. On success
// the answer has the identity of the caller in headers, and in an `im-identity+jwt` that a [Signer] makes for the service behind the
// proxy. That service checks it by [OpenRequest] or [OpenIdentity].
package forwardauth
