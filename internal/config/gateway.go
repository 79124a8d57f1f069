package config

import (
	"crypto"
	_ "embed"
	"net/netip"
	"path/filepath"
	"strings"
	"time"
)

// GatewayExample is a settings file of the gateway with every key, its default and its meaning.
//
//go:embed gateway.yaml
var GatewayExample string

// A Gateway is all settings of the gateway, checked, with defaults filled in. The rules for its file are those of [Config], and the
// variables that override it begin with GATEWAY_. It does not change after [LoadGateway].
type Gateway struct {
	// Listen is the host:port where proxies ask, or where clients come with Upstream.
	Listen string `key:"listen" default:"127.0.0.1:9090"`
	// TLS is the certificate of that address. Without it the gateway speaks http there.
	TLS TLS `key:"tls"`
	// Data is the folder of the admin socket and of the list of suspended peers.
	Data string `key:"data" default:"gateway-data"`
	// Admin is the admin interface, unix:PATH. Default: unix:DATA/gateway.sock. See [Gateway.AdminSocket].
	Admin string `key:"admin"`
	// MetricsListen is a host:port for health and metrics alone. Empty for none: they are on the admin socket, too.
	MetricsListen string `key:"metrics_listen"`
	// PublicOrigins are the origins under which clients know the services.
	PublicOrigins []string `key:"public_origins,required"`
	// Proxy is the kind of proxy that asks. TrustedProxies are its networks.
	Proxy          string         `key:"proxy" oneof:"nginx,caddy,traefik,haproxy,envoy"`
	TrustedProxies []netip.Prefix `key:"trusted_proxies"`
	// Upstream makes the gateway a reverse proxy for the service at this URL, in place of Proxy.
	Upstream string `key:"upstream"`
	// PassCredentials has the reverse proxy pass on Authorization and DPoP.
	PassCredentials bool `key:"pass_credentials"`
	// Audience are the audiences (`aud`) of tokens that are accepted.
	Audience []string `key:"audience,required"`
	// Replay selects where spent proofs are remembered. With several gateways it is redis.
	Replay string `key:"replay" default:"memory" oneof:"memory,redis"`
	// RedisURLFile holds the URL of that server, see [Config.RedisURLFile]. RedisURL is its content.
	RedisURLFile string `key:"redis_url_file"`
	RedisURL     Secret
	// SecretFile holds 32 random bytes, in hexadecimal, that all gateways behind the same origins share. Nonces are made with it.
	SecretFile string `key:"secret_file"`
	// Secret is the content of SecretFile; zero if there is none.
	Secret [32]byte `json:"-"`
	// Development allows what is unsafe on the Internet: http URLs and reserved domains.
	Development bool `key:"development"`

	Log      Log             `key:"log"`
	Tracing  Tracing         `key:"tracing"`
	Outbound Outbound        `key:"outbound"`
	DPoP     DPoP            `key:"dpop"`
	Home     Home            `key:"home"`
	Identity GatewayIdentity `key:"identity"`
	Limits   GatewayLimits   `key:"limits"`
	Peers    []GatewayPeer   `key:"peers,required"`
	// Discovery admits domains that are not among Peers.
	Discovery Discovery `key:"discovery"`
	Routes    []Route   `key:"routes,required"`

	source *decoder // the position of each key
}

// A Home is the issuer of the gateway's own domain, and the client that the gateway is there. It asks this issuer about its tokens, and
// gets tokens there with which it asks others.
type Home struct {
	Issuer   string `key:"issuer,required"`
	ClientID string `key:"client_id,required"`
	// SecretFile holds the secret of the client, or KeyFile its private key for assertions, PEM.
	SecretFile string `key:"secret_file"`
	Secret     Secret
	KeyFile    string        `key:"key_file"`
	Key        crypto.Signer `json:"-"`
	// Feed follows the revocations of the issuer, so that they end tokens at once. The client then has the scope feed.
	Feed bool `key:"feed"`
}

// A GatewayIdentity is what identities for the services are signed with.
type GatewayIdentity struct {
	// Issuer is their `iss`. Default: the first of the public origins.
	Issuer string `key:"issuer"`
	// KeyFile holds the private key, PEM: P-256 or Ed25519. Without it the gateway makes a key at each start.
	KeyFile string        `key:"key_file"`
	Key     crypto.Signer `json:"-"`
}

// GatewayLimits bounds what the gateway keeps and waits for.
type GatewayLimits struct {
	// ReplayProofs is how many proofs the replay memory holds, 1000 to 100000000. Each takes about 100 bytes.
	ReplayProofs int `key:"replay_proofs" default:"1000000"`
	// Tokens is how many verified tokens are kept, 100 to 10000000.
	Tokens int `key:"tokens" default:"50000"`
	// Body is how many bytes the body of a request to the upstream may have, 0 to 2147483647.
	Body int `key:"body" default:"10485760"`
	// AnswerTime is how long the upstream may take until its answer begins, 1s to 1h.
	AnswerTime time.Duration `key:"answer_time" default:"60s"`
}

// Discovery admits domains that are not listed as peers: their issuers are discovered through the domains.
type Discovery struct {
	// Open admits them.
	Open bool `key:"open"`
	// Allow lists the domains that are admitted; *.DOMAIN stands for all domains below one. Empty means all. Refuse lists those that are
	// not, although Allow has them.
	Allow  []string `key:"allow"`
	Refuse []string `key:"refuse"`
	// PerMinute is how many parties that are new, domains and issuers, are asked in a minute, and PerSource how many of them one IPv4
	// address or IPv6 network of 64 bits may cause, 1 to 10000.
	PerMinute int `key:"per_minute" default:"60"`
	PerSource int `key:"per_source" default:"10"`
}

// A GatewayPeer is an issuer that may speak for a domain, the gateway's own domain included.
type GatewayPeer struct {
	// Domain is in lower-case A-labels. Issuer is the URL of its issuer, exactly as in iss. If it is empty, the issuer is discovered
	// through the domain.
	Domain string `key:"domain,required"`
	Issuer string `key:"issuer"`
	// JWKSFile holds the issuer's JWK Set. If it is empty, the keys are found through the issuer's metadata. JWKS is its content.
	JWKSFile string `key:"jwks_file"`
	JWKS     []byte
	// Suspended keeps the peer in the list without trusting its tokens.
	Suspended bool `key:"suspended"`
}

// AdminSocket returns the path of the admin socket.
func (g *Gateway) AdminSocket() string { return strings.TrimPrefix(g.Admin, "unix:") }

// File returns the path of the settings file, as it was given.
func (g *Gateway) File() string { return g.source.name }

// LoadGateway reads the settings file of a gateway at path and the GATEWAY_ variables in env, which has the form of [os.Environ]. The
// error is of type [Errors].
func LoadGateway(path string, env []string) (*Gateway, error) {
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	return ParseGateway(path, data, env)
}

// ParseGateway is [LoadGateway] for a file that was read already.
func ParseGateway(name string, data []byte, env []string) (*Gateway, error) {
	d := newDecoder(name)
	g := new(Gateway)
	if root := d.document(data); root != nil {
		d.overlay(root, "GATEWAY_", env)
		d.decode(root, g)
		g.source = d
		k := &gatewayChecker{Gateway: g, checker: &checker{decoder: d, Config: g.shared(), dir: filepath.Dir(name)}}
		k.check()
	}
	if len(d.errs) > 0 {
		d.errs.sort()
		return nil, d.errs
	}
	return g, nil
}

// shared returns the settings that the gateway has in common with the issuer, for the checks of those.
func (g *Gateway) shared() *Config {
	return &Config{
		Issuer: "https://", // for the check of tls
		TLS:    g.TLS, Replay: g.Replay, RedisURLFile: g.RedisURLFile, Development: g.Development, Outbound: g.Outbound, DPoP: g.DPoP,
	}
}
