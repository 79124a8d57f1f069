// Package config reads the settings of the issuer: one YAML file, whose scalars the environment may override.
//
// [Load] either returns settings that are complete and make sense together, or it names everything that is wrong with
// them, all at once, with file, line, key and remedy ([Errors]). Reading is strict: a key that is not documented on
// [Config] is an error, and so are a repeated key, a YAML alias and a second document.
//
// A setting a.b is overridden by the variable ISSUER_A__B, the third client's id by ISSUER_CLIENTS__2__ID. Durations
// are written 90s, 10m, 36h or 14d. Relative paths start at the folder of the settings file.
package config

import (
	_ "embed"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/assertion"
)

// Example is a settings file with every key, each with its default and its meaning.
//
//go:embed example.yaml
var Example string

// Config is the whole of the settings, checked, with every default filled in. Nobody changes it after [Load].
//
// The tag key names the setting, default what it is when it is left out, oneof the values that it may have.
type Config struct {
	// Issuer is the issuer's URL, https as RFC 8414 §2 wants it, in normal form: an origin, or an origin and a path that
	// everything is served below. It is compared octet by octet wherever it appears.
	Issuer string `key:"issuer,required"`
	// Listen is the host:port that serves the public endpoints.
	Listen string `key:"listen" default:"127.0.0.1:8080"`
	// TLS is how the server speaks TLS itself. Without it, it speaks http, and a proxy in front of it ends TLS.
	TLS TLS `key:"tls"`
	// TrustedProxies are the networks of proxies in front: of a request through one of them, the last address of
	// X-Forwarded-For that is none of theirs is who sent it.
	TrustedProxies []netip.Prefix `key:"trusted_proxies"`
	// Data is the folder that the database, the admin socket and the key-encryption key live in by default.
	Data string `key:"data" default:"data"`
	// Admin is the admin interface, unix:PATH. Default: unix:DATA/admin.sock. See [Config.AdminSocket].
	Admin string `key:"admin"`
	// Storage is the database, sqlite:PATH. Default: sqlite:DATA/issuer.db. See [Config.Database].
	Storage string `key:"storage"`
	// Replay says where spent proofs are remembered: in memory, in the database (a durable write for each, and a restart
	// forgets none), or on a Redis or Valkey server.
	Replay string `key:"replay" default:"memory" oneof:"memory,storage,redis"`
	// RedisURLFile holds the URL of that server, redis://USER:PASSWORD@HOST:PORT/DB or rediss:// for TLS.
	RedisURLFile string `key:"redis_url_file"`
	// RedisURL is what that file holds.
	RedisURL Secret
	// KEKFile holds the key-encryption key, 32 bytes in hexadecimal or base64. Default: DATA/kek. It must be there,
	// but in development, where it is made.
	KEKFile string `key:"kek_file"`
	// Development allows what is unsafe on the Internet: http URLs, reserved domains, a key-encryption key made on
	// the spot.
	Development bool `key:"development"`

	Service   Service   `key:"service"`
	Log       Log       `key:"log"`
	Outbound  Outbound  `key:"outbound"`
	DPoP      DPoP      `key:"dpop"`
	Signing   Signing   `key:"signing"`
	Lifetimes Lifetimes `key:"lifetimes"`
	Limits    Limits    `key:"limits"`
	Domains   []Domain  `key:"domains,required"`
	Clients   []Client  `key:"clients"`
	Peers     []Peer    `key:"peers"`

	source *decoder // where each key stands
}

// File returns the path of the settings file, as it was given.
func (c *Config) File() string { return c.source.name }

// AdminSocket returns the path of the admin socket.
func (c *Config) AdminSocket() string { return strings.TrimPrefix(c.Admin, "unix:") }

// Database returns the path of the SQLite database.
func (c *Config) Database() string { return strings.TrimPrefix(c.Storage, "sqlite:") }

// TLS names the certificate that the server shows. Both files are read again when they change.
type TLS struct {
	// CertFile holds the certificate and those that lead to its root, PEM; KeyFile its key, PEM, a file that no other user has access to.
	CertFile string `key:"cert_file"`
	KeyFile  string `key:"key_file"`
}

// Service says who runs the issuer, to the people who see its pages.
type Service struct {
	// Name is what people call the service.
	Name string `key:"name"`
	// PrivacyURL and TermsURL are the addresses of documents that every page links to.
	PrivacyURL string `key:"privacy_url"`
	TermsURL   string `key:"terms_url"`
	// LogoFile is a PNG or JPEG image of at most 32 KiB and 1024 by 1024 pixels, which every page shows.
	LogoFile string `key:"logo_file"`
	// Logo is what that file holds.
	Logo []byte `json:"-"`
}

// Log says how the server logs.
type Log struct {
	Format string `key:"format" default:"text" oneof:"text,json"`
	Level  string `key:"level" default:"info" oneof:"debug,info,warn,error"`
}

// Outbound rules the requests that the issuer makes to URLs of its own settings.
type Outbound struct {
	// AllowNetworks are private networks that such URLs may lead to.
	AllowNetworks []netip.Prefix `key:"allow_networks"`
	// Proxy is the http or https URL of a proxy; empty for none.
	Proxy string `key:"proxy"`
	// CAFile holds further certificate authorities, PEM.
	CAFile string `key:"ca_file"`
	// DevHosts maps host names to addresses (IP or IP:port), in development only.
	DevHosts map[string]string `key:"dev_hosts"`
}

// DPoP rules the proofs that are accepted (RFC 9449).
type DPoP struct {
	// Nonce says whether a proof must carry a nonce of the server's.
	Nonce string `key:"nonce" default:"required" oneof:"required,off"`
	// Algorithms are the JOSE algorithms that proofs may be signed with. The default leaves out those whose verification
	// is slow.
	Algorithms []string `key:"algorithms" default:"ES256,EdDSA,Ed25519,ES384" oneof:"ES256,EdDSA,Ed25519,ES384,ES512,PS256,RS256"`
}

// Signing rules the issuer's own signatures.
type Signing struct {
	// Alg is the JOSE algorithm of a new signing key. Where another one signs, a new key takes over at the next start.
	Alg string `key:"alg" default:"ES256" oneof:"ES256,EdDSA,RS256"`
	// RotateEvery is how long a key signs before the next one takes its place, 1h to 3650d; never: until somebody wants
	// it to.
	RotateEvery Period `key:"rotate_every" default:"90d"`
	// PublishAhead is how long the next key is published before it signs, 10m to 30d: verifiers keep a key set for five
	// minutes, and some for longer than they are told to.
	PublishAhead time.Duration `key:"publish_ahead" default:"24h"`
}

// A Period is the time from one occurrence of something to the next. Zero, which is written never, has no next.
type Period time.Duration

// Lifetimes says how long things live, in whole seconds.
type Lifetimes struct {
	// Access is the life of an access token, 1m to 60m.
	Access time.Duration `key:"access" default:"10m"`
	// Code is the life of an authorization code, 1s to 60s.
	Code time.Duration `key:"code" default:"60s"`
	// RefreshIdle is how long a session lives without a refresh, RefreshMax how long it lives at all.
	RefreshIdle time.Duration `key:"refresh_idle" default:"14d"`
	RefreshMax  time.Duration `key:"refresh_max" default:"180d"`
	// Statement is the longest life of a statement, such as a grant to an actor.
	Statement time.Duration `key:"statement" default:"90d"`
}

// Limits bounds what one party can take.
type Limits struct {
	// DevicesPerUser is how many devices a user may have at a time, 1 to 1000.
	DevicesPerUser int `key:"devices_per_user" default:"20"`
	// StatementsPerUser is how many statements that a user made may stand at a time, 10 to 100000.
	StatementsPerUser int `key:"statements_per_user" default:"1000"`
	// RevocationsPerUser is how many live revocations a user may have before the next ones become one, which ends all access
	// tokens of the user, 10 to 100000.
	RevocationsPerUser int `key:"revocations_per_user" default:"1000"`
	// ReplayProofs is how many proofs the replay memory holds, 1000 to 100000000. It takes about 100 octets for each.
	ReplayProofs int `key:"replay_proofs" default:"1000000"`
	// WaitingLogins is how many unfinished logins and pushed requests are stored at a time, 100 to 10000000. Each takes about
	// 3 kB, and 20 kB at most.
	WaitingLogins int `key:"waiting_logins" default:"200000"`
	// WaitingAddressPercent is how much of them one IPv4 address or IPv6 network of 64 bits may begin, 1 to 100 percent.
	// WaitingReservedPercent is how much is reserved for requests that an authenticated client pushed, 0 to 90 percent.
	WaitingAddressPercent  int `key:"waiting_address_percent" default:"10"`
	WaitingReservedPercent int `key:"waiting_reserved_percent" default:"10"`
	// PerAddress, PerClient, PerUserClient and PerUser are how many requests one IPv4 address or IPv6 network of 64 bits, one
	// client, one user by one client, and one user by all clients may send to the endpoints that log in and issue tokens.
	PerAddress Rate `key:"per_address" default:"60000/1m"`
	PerClient  Rate `key:"per_client" default:"30000/1m"`
	// PerUserClient is smaller than PerUser, so that one app cannot use up what a user may have.
	PerUserClient Rate `key:"per_user_client" default:"600/1m"`
	PerUser       Rate `key:"per_user" default:"3000/1m"`
}

// A Rate is how many requests may come at once, and the time in which that many are allowed anew, evenly: 600/1m. The
// zero Rate, written off, is no limit.
type Rate struct {
	Count int
	Per   time.Duration
}

// A Domain is a name that the issuer issues identities in.
type Domain struct {
	// Name is the domain in lower-case A-labels.
	Name string `key:"name,required"`
	// System is the identifier system, URI the form of its identifiers.
	System string `key:"system" default:"generic"`
	URI    string `key:"uri" default:"im" oneof:"im,mimi"`
	Claims Claims `key:"claims"`
	// ChooseHandle lets a person choose her handle on a page, where the provider's is taken, not allowed or missing.
	// Without it such a login ends there.
	ChooseHandle bool `key:"choose_handle" default:"true"`
	// Protected are names, beside admin, support and the like, that nobody may take or imitate: brands, domains.
	Protected []string `key:"protected"`
	// Scripts says how far a new handle may mix scripts: a restriction level of UTS #39 §5.2.
	Scripts string `key:"scripts" default:"moderately_restrictive" oneof:"ascii_only,single_script,highly_restrictive,moderately_restrictive,unrestricted"`
	// Providers are the OpenID providers that people of the domain log in at. Where there are several, a person chooses
	// one unless the app has (im_provider), and accounts at two of them are two people.
	Providers []Provider `key:"providers,required"`
}

// Claims names the claims of the provider that identities are read from.
type Claims struct {
	// User names the claim that becomes the user id. Empty: the issuer draws one.
	User string `key:"user"`
	// Handle names the claim that becomes the handle.
	Handle string `key:"handle" default:"preferred_username"`
}

// A Provider is an OpenID provider upstream, where this issuer is a client.
type Provider struct {
	// ID is the provider's name in paths (/login/callback/ID), unique among all domains.
	ID string `key:"id,required"`
	// Name is what people know it by, where they choose among several. Default: the id.
	Name     string `key:"name"`
	Issuer   string `key:"issuer,required"`
	ClientID string `key:"client_id,required"`
	// ClientSecretFile holds the client secret; empty for a public client.
	ClientSecretFile string `key:"client_secret_file"`
	// ClientSecret is what that file holds.
	ClientSecret Secret
	// Scopes are asked for at login; openid is among them.
	Scopes []string `key:"scopes" default:"openid,profile"`
	// AuthoritativeHandles says that the provider decides who has which handle: its users cannot choose the value of
	// the handle claim freely. Without it the claim is a proposal, and each person chooses at her first login.
	AuthoritativeHandles bool `key:"authoritative_handles"`
}

// A Client is a registered OAuth client.
type Client struct {
	ID string `key:"id,required"`
	// Name is what people know it by, where they are asked about it. Default: the id.
	Name string `key:"name"`
	// Auth is none for a public client, secret for one that authenticates with a secret, in the Authorization
	// header or in the form as it likes (RFC 6749 §2.3.1), private_key_jwt for one that signs assertions (RFC 7523).
	Auth string `key:"auth,required" oneof:"none,secret,private_key_jwt"`
	// SecretSHA256 is the SHA-256 of the secret: 64 hexadecimal digits. All zero for a client without.
	SecretSHA256 [32]byte `key:"secret_sha256"`
	// JWKS is the JWK Set of the client's public keys, as JSON text; JWKSURI is where the client publishes one.
	JWKS    string `key:"jwks"`
	JWKSURI string `key:"jwks_uri"`
	// Keys is what JWKS holds.
	Keys []assertion.Key `json:"-"`
	// RedirectURIs are compared octet by octet, but that the port of a loopback URI is free (RFC 8252 §7.3).
	RedirectURIs []string `key:"redirect_uris"`
	Grants       []string `key:"grants" oneof:"authorization_code,refresh_token,client_credentials,urn:ietf:params:oauth:grant-type:token-exchange,urn:ietf:params:oauth:grant-type:embedded-tokens"`
	// Scopes are those it may ask for. Default: im:handle and im:device for clients that log people in, else none.
	Scopes []string `key:"scopes" oneof:"im:handle,im:device,account,introspect,introspect:domain,introspect:reason"`
	// Domains are names of entries of domains.
	Domains []string `key:"domains,required"`
	// Resources are the audiences (RFC 8707) that it serves and may ask tokens for: https URLs and im: domain URIs.
	Resources []string `key:"resources"`
	// Embed are the relations of tokens that it may have embedded in its own (docs/nested.md).
	Embed []string `key:"embed" oneof:"cascade,separate,acts_for,member_of,guardian_of,same_as,renamed_from,moved_from,attested_by"`
	// DPoP is required, or optional for a service client that may have bearer tokens.
	DPoP string `key:"dpop" default:"required" oneof:"required,optional"`
	// FirstParty says that the operator runs the client: people are not asked whether they consent, but for a public
	// client whose redirect URI is on loopback or of a private-use scheme, which any program can pretend to be (RFC 8252
	// §8.6).
	FirstParty bool `key:"first_party"`
	// RequirePAR says that it pushes its authorization requests (RFC 9126 §6).
	RequirePAR bool `key:"require_par"`
	// RequireDPoPJKT says that its authorization requests must name their key (RFC 9449 §10).
	RequireDPoPJKT bool `key:"require_dpop_jkt"`
}

// A Peer is an issuer that may speak for another domain.
type Peer struct {
	// Domain is the peer's, in lower-case A-labels; Issuer the URL of its issuer, as it stands in `iss`.
	Domain string `key:"domain,required"`
	Issuer string `key:"issuer,required"`
	// JWKSFile holds the issuer's JWK Set. Empty: its metadata tells where the keys are.
	JWKSFile string `key:"jwks_file"`
	// JWKS is what that file holds.
	JWKS []byte
	// Suspended keeps the peer here and believes nothing it says.
	Suspended bool `key:"suspended"`
}

// A Secret is printed and marshalled as [secret]; string(s) is its value.
type Secret string

const hidden = "[secret]"

// String returns a word in the place of the secret, and so does every verb of fmt.
func (Secret) String() string { return hidden }

// GoString returns a word in the place of the secret.
func (Secret) GoString() string { return hidden }

// MarshalText returns a word in the place of the secret, for encoding/json and log/slog.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Load reads the settings file at path and the ISSUER_ variables of env, whose entries have the form of [os.Environ].
// The error is of type [Errors].
func Load(path string, env []string) (*Config, error) {
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data, env)
}

// Parse is [Load] for settings at hand: data is the content of the file called name, whose folder relative paths
// start at.
func Parse(name string, data []byte, env []string) (*Config, error) {
	c, todo, err := examine(name, data, env)
	return complete(c, todo, err)
}

// complete returns the settings if nothing has to be made first.
func complete(c *Config, todo Errors, err error) (*Config, error) {
	if faults := (Errors)(nil); len(todo) > 0 {
		errors.As(err, &faults)
		faults = append(faults, todo...)
		faults.sort()
		return nil, faults
	}
	return c, err
}

// Check is [Load] for somebody who wants to know whether a settings file is right: what has only to be made before the
// first start on an empty data folder is no error; todo names it.
func Check(path string, env []string) (c *Config, todo Errors, err error) {
	data, err := read(path)
	if err != nil {
		return nil, nil, err
	}
	return examine(path, data, env)
}

func read(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, Errors{{File: path, Message: "cannot be read: " + cause(err)}}
	}
	return data, nil
}

func examine(name string, data []byte, env []string) (c *Config, todo Errors, err error) {
	return examineOver(nil, name, data, env)
}

func examineOver(base []byte, name string, data []byte, env []string) (c *Config, todo Errors, err error) {
	d := newDecoder(name)
	c = new(Config)
	if root := d.under(base, d.document(data)); root != nil {
		d.overlay(root, env)
		d.decode(root, c)
		c.source = d
		(&checker{decoder: d, Config: c, dir: filepath.Dir(name)}).check()
	}
	if len(d.errs) > 0 {
		d.errs.sort()
		return nil, d.todo, d.errs
	}
	return c, d.todo, nil
}
