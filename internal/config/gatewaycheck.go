package config

import (
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/assertion"
)

// A gatewayChecker checks the decoded settings of a gateway. The checks of settings that the issuer has, too, are those of [checker].
type gatewayChecker struct {
	*checker
	*Gateway
}

func (k *gatewayChecker) check() {
	g := k.Gateway
	if k.bad[""] {
		return
	}
	k.address("listen", g.Listen)
	if g.MetricsListen != "" {
		k.address("metrics_listen", g.MetricsListen)
	}
	k.tls()
	k.redis()
	k.outbound()
	k.tracing(&g.Tracing, g.TrustedProxies, "gateway")
	s := k.Config
	g.TLS, g.RedisURLFile, g.RedisURL, g.Outbound = s.TLS, s.RedisURLFile, s.RedisURL, s.Outbound
	if len(g.DPoP.Algorithms) == 0 {
		k.report("dpop.algorithms", "no proof could be accepted: name an algorithm or leave the key out")
	}
	k.places()
	k.secretFile()
	k.front()
	k.audience("audience", g.Audience)
	k.home()
	k.identity()
	k.between("limits.replay_proofs", g.Limits.ReplayProofs, 1000, 100_000_000)
	k.between("limits.tokens", g.Limits.Tokens, 100, 10_000_000)
	k.between("limits.body", g.Limits.Body, 0, 1<<31-1)
	k.lasts("limits.answer_time", g.Limits.AnswerTime, time.Second, time.Hour, "1s and 1h")
	k.peers()
	k.discovery()
	k.routes()
}

func (k *gatewayChecker) address(path, address string) {
	if _, port, err := net.SplitHostPort(address); err != nil || !isPort(port) {
		k.report(path, "%q is not host:port, as in 127.0.0.1:9090", address)
	}
}

// places resolves the paths of the data folder and the admin socket.
func (k *gatewayChecker) places() {
	g := k.Gateway
	g.Data = k.resolve(g.Data)
	k.Config.Data = g.Data
	g.Admin = k.place("admin", "unix", g.Admin, "gateway.sock")
	if len(g.AdminSocket()) > 103 { // see checker.places
		k.report("admin", "the path has %d bytes, and the path of a socket has at most 103: choose a shorter one", len(g.AdminSocket()))
	}
}

// secretFile reads the secret that several gateways share.
func (k *gatewayChecker) secretFile() {
	g := k.Gateway
	if g.SecretFile == "" {
		if g.Replay == "redis" {
			k.report("secret_file", "is required with replay: redis, so that each gateway accepts the nonces of the others: "+
				"make it with `(umask 077; openssl rand -hex 32 > FILE)`, and give all of them the same")
		}
		return
	}
	g.SecretFile = k.resolve(g.SecretFile)
	text := string(k.secret("secret_file", g.SecretFile))
	if n, err := hex.Decode(g.Secret[:], []byte(text[:min(len(text), 64)])); text != "" && (err != nil || n != 32 || len(text) != 64) {
		k.report("secret_file", "%s does not hold 64 hexadecimal digits: make it with `(umask 077; openssl rand -hex 32 > %s)`",
			g.SecretFile, g.SecretFile)
	}
}

// front checks how requests come: the public origins, and the proxy that asks or the upstream.
func (k *gatewayChecker) front() {
	g := k.Gateway
	if len(g.PublicOrigins) == 0 {
		k.report("public_origins", "is empty: name the origins of the services, as clients write them")
	}
	for i, origin := range g.PublicOrigins {
		k.origin(index("public_origins", i), origin)
	}
	switch {
	case g.Proxy == "" && g.Upstream == "":
		k.report("proxy", "is missing: name the kind of proxy that asks, or set upstream to the service that the gateway is in front of")
	case g.Proxy != "" && g.Upstream != "":
		k.report("upstream", "does not go with proxy: a gateway is asked by a proxy, or is one")
	case g.Proxy != "" && len(g.TrustedProxies) == 0:
		k.report("trusted_proxies", "is missing: name the addresses that the proxy asks from, as in [127.0.0.1/32]")
	}
	if g.Upstream != "" {
		if u := k.url("upstream", g.Upstream, "http", "https"); u != nil && (strings.TrimSuffix(u.Path, "/") != "" || u.RawQuery != "") {
			k.report("upstream", "%q has a path or a query: name an origin, because paths are passed on unchanged", g.Upstream)
		}
	}
	if g.PassCredentials && g.Upstream == "" {
		k.report("pass_credentials", "has no use without upstream: the proxy decides which headers it passes on")
	}
}

// origin checks that a URL is an origin in the one form in which origins are compared.
func (k *gatewayChecker) origin(path, value string) {
	if k.secureURL(path, value) == nil {
		return
	}
	switch normal, err := dpop.NormalizeHTU(value); {
	case err != nil:
		k.report(path, "%q is not an origin, as in https://chat.example.org: %v", value, err)
	case value+"/" != normal:
		scheme, rest, _ := strings.Cut(normal, "://")
		host, _, _ := strings.Cut(rest, "/")
		k.report(path, "%q is not an origin in normal form (lower case, no default port, no path): write %s://%s", value, scheme, host)
	}
}

func (k *gatewayChecker) audience(path string, values []string) {
	if len(values) == 0 && path == "audience" {
		k.report(path, "is empty: name the audiences of the tokens that are accepted, such as im:example.org")
	}
	for i, value := range values {
		k.resource(index(path, i), value)
	}
}

// home checks the gateway's own client.
func (k *gatewayChecker) home() {
	h := &k.Home
	if k.where["home"] == nil {
		return
	}
	k.secureURL("home.issuer", h.Issuer)
	if !clientID.MatchString(h.ClientID) {
		k.report("home.client_id", "%q is not 1 to 255 printable ASCII characters without space and colon", h.ClientID)
	}
	switch {
	case h.SecretFile != "" && h.KeyFile != "":
		k.report("home.key_file", "does not go with home.secret_file: a client has a secret or a key")
	case h.SecretFile != "":
		h.SecretFile = k.resolve(h.SecretFile)
		h.Secret = k.secret("home.secret_file", h.SecretFile)
	case h.KeyFile != "":
		if h.Key = k.privateKey("home.key_file", &h.KeyFile); h.Key != nil && assertion.AlgorithmFor(h.Key.Public()) == "" {
			k.report("home.key_file", "%s is not a key for ES256, EdDSA or RS256", h.KeyFile)
		}
	default:
		k.report("home.secret_file", "is missing: the client needs secret_file or key_file")
	}
}

// identity checks how identities for the services are signed.
func (k *gatewayChecker) identity() {
	id := &k.Identity
	if id.Issuer == "" && len(k.PublicOrigins) > 0 {
		id.Issuer = k.PublicOrigins[0]
	} else if id.Issuer != "" {
		k.secureURL("identity.issuer", id.Issuer)
	}
	isIssuer := func(p GatewayPeer) bool { return id.Issuer != "" && p.Issuer == id.Issuer }
	if id.Issuer != "" && id.Issuer == k.Home.Issuer || slices.ContainsFunc(k.Gateway.Peers, isIssuer) {
		k.report("identity.issuer", "%q is an issuer of tokens: identities have an issuer of their own, such as the gateway's URL",
			id.Issuer)
	}
	if id.KeyFile == "" {
		return
	}
	id.Key = k.privateKey("identity.key_file", &id.KeyFile)
	if id.Key != nil && !slices.Contains([]string{"ES256", "EdDSA"}, assertion.AlgorithmFor(id.Key.Public())) {
		k.report("identity.key_file", "%s is not a P-256 or Ed25519 key: make one with `openssl genpkey -algorithm ed25519`", id.KeyFile)
	}
}

// privateKey reads a private key in PEM, and resolves the name of its file.
func (k *gatewayChecker) privateKey(path string, file *string) crypto.Signer {
	*file = k.resolve(*file)
	text, ok := k.private(path, *file)
	if !ok {
		return nil
	}
	block, _ := pem.Decode(text)
	if block == nil {
		k.report(path, "%s holds no PEM block", *file)
		return nil
	}
	if block.Type == "EC PRIVATE KEY" {
		if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
			return key
		}
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		k.report(path, "%s is not a private key in PKCS #8: make one with `openssl genpkey`", *file)
		return nil
	}
	return signer
}

// discovery checks which domains are admitted that are not listed.
func (k *gatewayChecker) discovery() {
	d := &k.Gateway.Discovery
	k.between("discovery.per_minute", d.PerMinute, 1, 10_000)
	k.between("discovery.per_source", d.PerSource, 1, 10_000)
	for _, list := range []struct {
		path  string
		names []string
	}{{"discovery.allow", d.Allow}, {"discovery.refuse", d.Refuse}} {
		if len(list.names) > 0 && !d.Open {
			k.report(list.path, "has no effect without discovery.open: true")
		}
		for i, name := range list.names {
			k.domain(index(list.path, i), strings.TrimPrefix(name, "*."))
		}
	}
}

// peers checks the issuers that are trusted, by the rules of [checker.peers].
func (k *gatewayChecker) peers() {
	g := k.Gateway
	if len(g.Peers) == 0 {
		k.report("peers", "is empty: name the domains whose users may come, and their issuers")
	}
	pairs, files := make(map[string]string), make(map[string]string)
	entries := make(map[string]int) // by domain
	for _, p := range g.Peers {
		entries[p.Domain]++
	}
	for i := range g.Peers {
		p, path := &g.Peers[i], index("peers", i)
		k.domain(join(path, "domain"), p.Domain)
		if p.Issuer == "" { // it is discovered
			if entries[p.Domain] > 1 {
				k.report(path, "%q is listed without an issuer, and again: leave one out, because a configured issuer is not discovered",
					p.Domain)
			} else if p.JWKSFile != "" {
				k.report(join(path, "jwks_file"), "needs the issuer whose keys these are: add it, or leave the keys out")
			}
			continue
		}
		k.secureURL(join(path, "issuer"), p.Issuer)
		k.unique(pairs, join(path, "issuer"), p.Domain+" by "+p.Issuer)
		if p.JWKSFile != "" {
			p.JWKSFile = k.resolve(p.JWKSFile)
			var err error
			if p.JWKS, err = os.ReadFile(p.JWKSFile); err != nil {
				k.report(join(path, "jwks_file"), "%s cannot be read: %s", p.JWKSFile, cause(err))
			} else if !strings.Contains(string(p.JWKS), `"keys"`) {
				k.report(join(path, "jwks_file"), "%s is not a JWK Set: a JSON object with the member keys (RFC 7517 §5)", p.JWKSFile)
			}
		}
		if other, known := files[p.Issuer]; known && other != p.JWKSFile {
			k.report(join(path, "jwks_file"),
				"the same issuer has another one above: the keys of an issuer are the same for all its domains")
		}
		files[p.Issuer] = p.JWKSFile
	}
}
