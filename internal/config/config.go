// Package config reads the settings of the issuer: one YAML file, whose scalars environment variables may override.
//
// [Load] returns complete and consistent settings, or [Errors] that list everything wrong at once, with file, line, key and
// remedy. Reading is strict: a key that is not documented on [Config], a repeated key, a YAML alias and a second document are
// errors.
//
// The variable ISSUER_A__B overrides the setting a.b, and ISSUER_CLIENTS__2__ID the id of the third client. Durations are
// written 90s, 10m, 36h or 14d. Relative paths start at the folder of the settings file.
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
	"github.com/imidentity/issuer/introspect"
)

// Example is a settings file with every key, its default and its meaning.
//
//go:embed example.yaml
var Example string

// Config is all settings, checked, with defaults filled in. It does not change after [Load].
//
// The tag key names the setting, default is its value if it is left out, and oneof lists the values that it may have.
type Config struct {
	// Issuer is the issuer's URL in normal form, https (RFC 8414 §2): an origin, or an origin and a path below which everything
	// is served. It is compared byte by byte wherever it appears.
	Issuer string `key:"issuer,required"`
	// Listen is the host:port that serves the public endpoints.
	Listen string `key:"listen" default:"127.0.0.1:8080"`
	// TLS is the certificate of the server. Without it the server speaks http, and a proxy in front of it ends TLS.
	TLS TLS `key:"tls"`
	// TrustedProxies are the networks of proxies in front of the server. The sender of a request through a proxy is the last
	// address in X-Forwarded-For that is not in these networks.
	TrustedProxies []netip.Prefix `key:"trusted_proxies"`
	// Data is the default folder of the database, the admin socket and the key-encryption key.
	Data string `key:"data" default:"data"`
	// Admin is the admin interface, unix:PATH. Default: unix:DATA/admin.sock. See [Config.AdminSocket].
	Admin string `key:"admin"`
	// AdminListen is the host:port that also serves operators over the network; empty for none. AdminURL is its URL for programs, an
	// origin, which their proofs name. AdminTLS is its certificate. Default: that of TLS.
	AdminListen string `key:"admin_listen"`
	AdminURL    string `key:"admin_url"`
	AdminTLS    TLS    `key:"admin_tls"`
	// MetricsListen is the host:port that serves the health checks and the metrics alone, by plain http and without authentication;
	// empty for none.
	MetricsListen string `key:"metrics_listen"`
	// Storage is the database: sqlite:PATH, for one process, or postgres, for several. Default: sqlite:DATA/issuer.db. See
	// [Config.Database] and [Config.Postgres].
	Storage string `key:"storage"`
	// StorageURLFile holds the URL of the PostgreSQL database, postgres://USER:PASSWORD@HOST:PORT/DATABASE.
	StorageURLFile string `key:"storage_url_file"`
	// StorageURL is the content of StorageURLFile.
	StorageURL Secret
	// Replay selects where spent proofs are remembered: in memory, in the database (one durable write for each, and a restart
	// loses none), or on a Redis or Valkey server.
	Replay string `key:"replay" default:"memory" oneof:"memory,storage,redis"`
	// RedisURLFile holds the URL of that server, redis://USER:PASSWORD@HOST:PORT/DB or rediss:// for TLS.
	RedisURLFile string `key:"redis_url_file"`
	// RedisURL is the content of RedisURLFile.
	RedisURL Secret
	// KEKFile holds the key-encryption key, 32 bytes in hexadecimal or base64. Default: DATA/kek. It must exist, except in
	// development, where it is made.
	KEKFile string `key:"kek_file"`
	// KEKFileNew holds the key-encryption key that replaces it. Both are used until `issuer keys rotate-kek` has been run.
	KEKFileNew string `key:"kek_file_new"`
	// Development allows what is unsafe on the Internet: http URLs, reserved domains, a key-encryption key made on
	// the spot.
	Development bool `key:"development"`

	Service   Service   `key:"service"`
	Log       Log       `key:"log"`
	Audit     Audit     `key:"audit"`
	Retention Retention `key:"retention"`
	Tracing   Tracing   `key:"tracing"`
	Outbound  Outbound  `key:"outbound"`
	DPoP      DPoP      `key:"dpop"`
	Signing   Signing   `key:"signing"`
	Lifetimes Lifetimes `key:"lifetimes"`
	Limits    Limits    `key:"limits"`
	Domains   []Domain  `key:"domains,required"`
	Clients   []Client  `key:"clients"`
	Peers     []Peer    `key:"peers"`
	// DynamicRegistration lets clients register themselves.
	DynamicRegistration DynamicRegistration `key:"registration"`
	// SCIM says where OpenID providers manage their users.
	SCIM SCIM `key:"scim"`

	source *decoder // the position of each key
}

// File returns the path of the settings file, as it was given.
func (c *Config) File() string { return c.source.name }

// AdminSocket returns the path of the admin socket.
func (c *Config) AdminSocket() string { return strings.TrimPrefix(c.Admin, "unix:") }

// Database returns the path of the SQLite database, "" if the database is another one.
func (c *Config) Database() string {
	path, ok := strings.CutPrefix(c.Storage, "sqlite:")
	if !ok {
		return ""
	}
	return path
}

// Postgres reports whether the database is PostgreSQL.
func (c *Config) Postgres() bool { return c.Storage == "postgres" }

// TLS names the server's certificate and its key. Both files are read again when they change.
type TLS struct {
	// CertFile holds the certificate and the intermediate ones, PEM. KeyFile holds its key, PEM; no other user may have access.
	CertFile string `key:"cert_file"`
	KeyFile  string `key:"key_file"`
}

// Service describes the operator, for the pages that users see.
type Service struct {
	// Name is the name of the service.
	Name string `key:"name"`
	// PrivacyURL and TermsURL are documents that every page links to.
	PrivacyURL string `key:"privacy_url"`
	TermsURL   string `key:"terms_url"`
	// LogoFile is a PNG or JPEG image of at most 32 KiB and 1024 by 1024 pixels, which every page shows.
	LogoFile string `key:"logo_file"`
	// Logo is the content of LogoFile.
	Logo []byte `json:"-"`
}

// Log selects format and level of the log.
type Log struct {
	Format string `key:"format" default:"text" oneof:"text,json"`
	Level  string `key:"level" default:"info" oneof:"debug,info,warn,error"`
}

// DefaultNode is the default of audit.node.
const DefaultNode = "main"

// Audit configures the audit log.
type Audit struct {
	// Node is the name of this process in the audit log, which has a chain of records for each. It is 1 to 64 of the characters a to z,
	// 0 to 9, - and dots.
	Node string `key:"node" default:"main"`
	// HeadsEvery is how often the issuer signs the last record, if there are new ones: 1m to 7d.
	HeadsEvery time.Duration `key:"heads_every" default:"1h"`
	// HeadsFile is a file to which each signed head is appended; empty for none.
	HeadsFile string `key:"heads_file"`
}

// Retention says how long records are kept that nothing needs. It applies to stored records, too.
type Retention struct {
	// Audit is for records of the audit log, 1d to 3650d. With never, they stay for ever.
	Audit Period `key:"audit" default:"never"`
	// AuditDetails is for the addresses, handles and reasons beside the records of the audit log, 1d to 3650d. With never, they stay as
	// long as their records.
	AuditDetails Period `key:"audit_details" default:"never"`
	// Devices is for removed devices, 1d to 3650d. Afterwards, their ids and the thumbprints of their keys stay, so that neither comes
	// back. With never, removed devices stay as long as their users.
	Devices Period `key:"devices" default:"never"`
	// Events is for what happened to the devices of a user, 1d to 3650d.
	Events time.Duration `key:"events" default:"90d"`
	// Names is for former handles, 1d to 3650d. Afterwards, their hashes stay, so that no user takes them. With never, former handles
	// stay as long as their users.
	Names Period `key:"names" default:"never"`
	// Sessions is for sessions that ended or expired, 0s to 3650d. With 0s, they are removed some minutes afterwards.
	Sessions time.Duration `key:"sessions" default:"0s"`
}

// Outbound rules the requests that the issuer sends to URLs in its settings.
type Outbound struct {
	// AllowNetworks are the private networks to which such URLs may lead.
	AllowNetworks []netip.Prefix `key:"allow_networks"`
	// Proxy is the http or https URL of a proxy; empty for none.
	Proxy string `key:"proxy"`
	// CAFile holds additional certificate authorities, PEM.
	CAFile string `key:"ca_file"`
	// DevHosts maps host names to addresses (IP or IP:port), in development only.
	DevHosts map[string]string `key:"dev_hosts"`
}

// DPoP selects which proofs are accepted (RFC 9449).
type DPoP struct {
	// Nonce tells whether a proof must contain a nonce of the server.
	Nonce string `key:"nonce" default:"required" oneof:"required,off"`
	// Algorithms are the JOSE algorithms of proofs. The default excludes those that are slow to verify.
	Algorithms []string `key:"algorithms" default:"ES256,EdDSA,Ed25519,ES384" oneof:"ES256,EdDSA,Ed25519,ES384,ES512,PS256,RS256"`
}

// Signing configures the issuer's own signatures.
type Signing struct {
	// Alg is the JOSE algorithm of new signing keys. If the present key has another one, a new key replaces it at the start.
	Alg string `key:"alg" default:"ES256" oneof:"ES256,EdDSA,RS256"`
	// RotateEvery is how long a key signs before the next one replaces it, 1h to 3650d. With never, only an operator replaces it.
	RotateEvery Period `key:"rotate_every" default:"90d"`
	// PublishAhead is how long the next key is published before it signs, 10m to 30d. Verifiers may cache a key set for five
	// minutes, and some do so for longer.
	PublishAhead time.Duration `key:"publish_ahead" default:"24h"`
}

// A Period is the time between two occurrences. Zero, written never, means that it does not occur again.
type Period time.Duration

// Lifetimes are in whole seconds.
type Lifetimes struct {
	// Access is the life of an access token, 1m to 60m.
	Access time.Duration `key:"access" default:"10m"`
	// Code is the life of an authorization code, 1s to 60s.
	Code time.Duration `key:"code" default:"60s"`
	// DeviceCode is the life of a device code and its user code, 1m to 30m.
	DeviceCode time.Duration `key:"device_code" default:"10m"`
	// RefreshIdle is how long a session lives without a refresh, RefreshMax its longest life.
	RefreshIdle time.Duration `key:"refresh_idle" default:"14d"`
	RefreshMax  time.Duration `key:"refresh_max" default:"180d"`
	// Statement is the longest life of a statement, such as a grant to an actor.
	Statement time.Duration `key:"statement" default:"90d"`
	// Credential is the life of a credential of a device, 1h to 90d.
	Credential time.Duration `key:"credential" default:"30d"`
}

// Limits bounds the resources that one user, client or address can use.
type Limits struct {
	// DevicesPerUser is how many devices a user may have at a time, 1 to 1000.
	DevicesPerUser int `key:"devices_per_user" default:"20"`
	// StatementsPerUser is how many live statements a user may have made, 10 to 100000.
	StatementsPerUser int `key:"statements_per_user" default:"1000"`
	// RevocationsPerUser is how many live revocations a user may have, 10 to 100000. Beyond that, one revocation ends all access
	// tokens of the user.
	RevocationsPerUser int `key:"revocations_per_user" default:"1000"`
	// ReplayProofs is how many proofs the replay memory holds, 1000 to 100000000. Each takes about 100 bytes.
	ReplayProofs int `key:"replay_proofs" default:"1000000"`
	// WaitingLogins is how many unfinished logins and pushed requests are stored at a time, 100 to 10000000. Each takes about
	// 3 kB, at most 20 kB.
	WaitingLogins int `key:"waiting_logins" default:"200000"`
	// WaitingAddressPercent is the share of them that one IPv4 address or IPv6 network of 64 bits may begin, 1 to 100 percent.
	// WaitingReservedPercent is the share reserved for requests pushed by authenticated clients, 0 to 90 percent.
	WaitingAddressPercent  int `key:"waiting_address_percent" default:"10"`
	WaitingReservedPercent int `key:"waiting_reserved_percent" default:"10"`
	// PerAddress, PerClient, PerUserClient and PerUser are how many requests one IPv4 address or IPv6 network of 64 bits, one
	// client, one user by one client, and one user by all clients may send to the endpoints that log in and issue tokens.
	PerAddress Rate `key:"per_address" default:"60000/1m"`
	PerClient  Rate `key:"per_client" default:"30000/1m"`
	// PerUserClient is smaller than PerUser, so that one app cannot use up the limit of a user.
	PerUserClient Rate `key:"per_user_client" default:"600/1m"`
	PerUser       Rate `key:"per_user" default:"3000/1m"`
	// Lookups is how many handles one address may ask about (WebFinger).
	Lookups Rate `key:"lookups" default:"60/1m"`
}

// A Rate allows Count requests at once, and then as many more in each time Per, evenly spread: 600/1m. The zero Rate, written
// off, is no limit.
type Rate struct {
	Count int
	Per   time.Duration
}

// A Domain is a domain in which the issuer issues identities.
type Domain struct {
	// Name is the domain in lower-case A-labels.
	Name string `key:"name,required"`
	// System is the identifier system, URI the form of the identifiers.
	System string `key:"system" default:"generic"`
	URI    string `key:"uri" default:"im" oneof:"im,mimi"`
	Claims Claims `key:"claims"`
	// ChooseHandle lets users choose a handle on a page if that of the provider is taken, not allowed or missing. Without it,
	// such a login fails.
	ChooseHandle bool `key:"choose_handle" default:"true"`
	// Protected are names that no user may take or imitate, in addition to admin, support and the like: brands, domains.
	Protected []string `key:"protected"`
	// Scripts limits how a new handle may mix scripts: a restriction level of UTS #39 §5.2.
	Scripts string `key:"scripts" default:"moderately_restrictive" oneof:"ascii_only,single_script,highly_restrictive,moderately_restrictive,unrestricted"`
	Rename  Rename `key:"rename"`
	// StatusList gives each session an entry in a Token Status List, which the access tokens of the session refer to.
	StatusList bool `key:"status_list"`
	// CA issues certificates of devices and users.
	CA CA `key:"ca"`
	// OtherIssuers are issuers that the document of the domain names beside this one, while the domain moves from one to another.
	OtherIssuers []string `key:"other_issuers"`
	// Wire says which certificate authorities of Wire may be given tokens of the devices of the domain.
	Wire Wire `key:"wire"`
	// Providers are the OpenID providers of the domain's users. If there are several, the user chooses one, unless the app has
	// chosen (im_provider). Accounts at two providers are two users.
	Providers []Provider `key:"providers,required"`
}

// Wire describes the certificate authorities (step-ca) of a domain whose system is wire.
type Wire struct {
	// Provisioners are the URLs of their ACME provisioners, such as https://ca.example.com/acme/wire. Without one, no tokens are given.
	Provisioners []string `key:"provisioners"`
	// Name says which display name a device may have in its certificate: handle, the local part of the handle, or unchecked, any. The
	// issuer knows no other name than the handle; with unchecked, step-ca has the name confirmed by the OpenID provider alone.
	Name string `key:"name" default:"handle" oneof:"handle,unchecked"`
	// Team is the team that the devices must name. Empty means that they must name none.
	Team string `key:"team"`
}

// A CA is the certification authority of a domain. Both files are read again when they change.
type CA struct {
	// CertFile holds the certificate of the CA and those above it, PEM. KeyFile holds its key, PEM; no other user may have access.
	CertFile string `key:"cert_file"`
	KeyFile  string `key:"key_file"`
	// UserCAs lets users become CAs for their own devices (im-user-ca-x5c).
	UserCAs bool `key:"user_cas"`
}

// Rename says who gives users another handle, besides administrators, who always can.
type Rename struct {
	// By is admin (nobody else), user (users choose one themselves) or provider (at each login, users get the handle that a provider
	// with authoritative_handles names).
	By string `key:"by" default:"admin" oneof:"admin,user,provider"`
	// Every is how long users keep a handle before they choose another one themselves.
	Every time.Duration `key:"every" default:"30d"`
}

// Claims names the claims of the provider that become identifiers.
type Claims struct {
	// User names the claim that becomes the user id. If empty, the issuer makes a random id.
	User string `key:"user"`
	// Handle names the claim that becomes the handle.
	Handle string `key:"handle" default:"preferred_username"`
}

// A Provider is an OpenID provider, at which this issuer is a client.
type Provider struct {
	// ID is the provider's name in paths (/login/callback/ID), unique among all domains.
	ID string `key:"id,required"`
	// Name is shown to users who choose among several providers. Default: the id.
	Name     string `key:"name"`
	Issuer   string `key:"issuer,required"`
	ClientID string `key:"client_id,required"`
	// ClientSecretFile holds the client secret. It is empty for a public client.
	ClientSecretFile string `key:"client_secret_file"`
	// ClientSecret is the content of ClientSecretFile.
	ClientSecret Secret
	// SubjectClaim names the claim of ID tokens that identifies a user for ever. No other user may ever have the same value.
	SubjectClaim string `key:"subject_claim" default:"sub"`
	// Scopes are requested at login. They contain openid.
	Scopes []string `key:"scopes" default:"openid,profile"`
	// AuthoritativeHandles tells that the provider decides which user has which handle: users cannot choose the value of the
	// handle claim freely. Without it the claim is a proposal, and users choose at their first login.
	AuthoritativeHandles bool `key:"authoritative_handles"`
	// Recheck is how long a login is good for before a refresh asks the provider whether it still stands. Zero: it is never asked.
	Recheck time.Duration `key:"recheck"`
	// RecheckGrace is how long refreshes go on after a check is due while the provider cannot be asked.
	RecheckGrace time.Duration `key:"recheck_grace" default:"24h"`
	// RecheckConsent sends prompt=consent with logins, without which many providers give no refresh token for offline_access.
	RecheckConsent bool `key:"recheck_consent" default:"true"`
	// RecheckRequired ends sessions for which the provider gave no refresh token when a check is due.
	RecheckRequired bool `key:"recheck_required"`
}

// A Client is a registered OAuth client.
type Client struct {
	ID string `key:"id,required"`
	// Name is shown on the consent page. Default: the id.
	Name string `key:"name"`
	// Auth is none for a public client, secret for a client with a secret, which it sends in the Authorization header or in the
	// form (RFC 6749 §2.3.1), or private_key_jwt for a client that signs assertions (RFC 7523).
	Auth string `key:"auth,required" oneof:"none,secret,private_key_jwt"`
	// SecretSHA256 is the SHA-256 of the secret, 64 hexadecimal digits. It is zero for a client without a secret.
	SecretSHA256 [32]byte `key:"secret_sha256"`
	// JWKS is the JWK Set of the client's public keys, as JSON text. JWKSURI is the URL where the client publishes one.
	JWKS    string `key:"jwks"`
	JWKSURI string `key:"jwks_uri"`
	// Keys are the keys in JWKS.
	Keys []assertion.Key `json:"-"`
	// RedirectURIs are compared byte by byte, except for the port of a loopback URI, which may differ (RFC 8252 §7.3).
	RedirectURIs []string `key:"redirect_uris"`
	Grants       []string `key:"grants" oneof:"authorization_code,refresh_token,client_credentials,urn:ietf:params:oauth:grant-type:token-exchange,urn:ietf:params:oauth:grant-type:embedded-tokens,urn:ietf:params:oauth:grant-type:jwt-bearer,urn:ietf:params:oauth:grant-type:device_code"`
	// Scopes are those that the client may request. Default: im:handle and im:device for clients with logins, and for those that redeem
	// the grants of peers; otherwise none.
	Scopes []string `key:"scopes" oneof:"im:handle,im:device,account,introspect,introspect:domain,introspect:reason,feed,im:credential,scim,admin"`
	// Domains are names of entries of domains.
	Domains []string `key:"domains,required"`
	// Resources are audiences (RFC 8707) that it serves and may request tokens for: https URLs and im: domain URIs.
	Resources []string `key:"resources"`
	// PeerResources tells that it may also request tokens for every peer: for im: and mimi: URIs of the peer's domain, and for the
	// URL of its issuer.
	PeerResources bool `key:"peer_resources"`
	// Embed are the relations of the tokens that it may have embedded in its own (docs/nested.md).
	Embed []string `key:"embed" oneof:"cascade,separate,acts_for,member_of,guardian_of,same_as,renamed_from,moved_from,attested_by"`
	// IDTokens are the app's own registrations at OpenID providers of its domains. It exchanges the ID tokens of its logins there.
	IDTokens []IDTokenApp `key:"id_tokens"`
	// DPoP is required, or optional for a service that may get bearer tokens.
	DPoP string `key:"dpop" default:"required" oneof:"required,optional"`
	// FirstParty tells that the operator runs the client. Users are then not asked for consent, unless the client is public and
	// its redirect URI is on loopback or has a private-use scheme: any program can impersonate such a client (RFC 8252 §8.6).
	FirstParty bool `key:"first_party"`
	// RequirePAR tells that its authorization requests must be pushed (RFC 9126 §6).
	RequirePAR bool `key:"require_par"`
	// RequireDPoPJKT tells that its authorization requests must name their key (RFC 9449 §10).
	RequireDPoPJKT bool `key:"require_dpop_jkt"`
	// SignedResponseAlg has all answers at introspection signed with this algorithm (RFC 9701 §6), which is that of signing.alg.
	SignedResponseAlg string `key:"introspection_signed_response_alg" oneof:"ES256,EdDSA,RS256"`
	// Introspection limits what the client is told about tokens.
	Introspection ClientRelease `key:"introspection"`
	// SCIM is for a client with the scope scim, by which an OpenID provider manages its users.
	SCIM ClientSCIM `key:"scim"`
}

// SCIM says where OpenID providers manage their users.
type SCIM struct {
	// Listener is public, the listener of everybody, or admin, that of operators over the network.
	Listener string `key:"listener" default:"public" oneof:"public,admin"`
}

// A ClientSCIM says how an OpenID provider manages its users (docs/scim.md).
type ClientSCIM struct {
	// Provider is the id of the OpenID provider. Default: the only one of the domain.
	Provider string `key:"provider"`
	// TokenSHA256 are the SHA-256 hashes of the bearer tokens that the provider may send: one, or two while they are replaced.
	TokenSHA256 [][32]byte `key:"token_sha256"`

	// Issuer is the issuer of the provider, Renames tells that it decides about handles, UserClaim is the claim that becomes the id of
	// its users, empty if the issuer makes it, and SubjectClaim the claim that identifies them.
	Issuer       string `json:"-"`
	Renames      bool   `json:"-"`
	UserClaim    string `json:"-"`
	SubjectClaim string `json:"-"`
}

// DynamicRegistration is dynamic client registration (RFC 7591). Without initial tokens it is off.
type DynamicRegistration struct {
	// InitialTokens are the initial access tokens.
	InitialTokens []InitialToken `key:"initial_tokens"`
}

// An InitialToken is an initial access token, and what clients can be that register themselves with it.
type InitialToken struct {
	// Name is stored with these clients and written into the audit log.
	Name string `key:"name,required"`
	// SHA256 is the SHA-256 of the token, 64 hexadecimal digits.
	SHA256 [32]byte `key:"sha256,required"`
	// Domains, Scopes, Grants and Resources are those that the clients can have, of those that clients of the settings can have.
	Domains   []string `key:"domains,required"`
	Scopes    []string `key:"scopes" default:"im:handle,im:device" oneof:"im:handle,im:device,account,introspect,feed,im:credential"`
	Grants    []string `key:"grants" default:"authorization_code,refresh_token" oneof:"authorization_code,refresh_token,client_credentials,urn:ietf:params:oauth:grant-type:device_code"`
	Resources []string `key:"resources"`
	// Clients is how many clients may be registered with the token at a time, 1 to 100000.
	Clients int `key:"clients" default:"100"`
}

// An IDTokenApp is a registration of a client at an OpenID provider.
type IDTokenApp struct {
	// Provider is the id of the provider.
	Provider string `key:"provider,required"`
	// Audience must be among the aud of the ID tokens: usually the client id of the app at the provider.
	Audience string `key:"audience,required"`
	// AZP must be their azp. Without it, azp must be absent or the same as Audience.
	AZP string `key:"azp"`
}

// A ClientRelease says what a client is told at introspection about the tokens that it may see.
type ClientRelease struct {
	// Claims are the members of active answers that it gets, beside those that are in every answer: cnf, token_type, expires_in, max_age
	// and holder.
	Claims []string `key:"claims" default:"iss,sub,username,handle,device,aud,client_id,scope,exp,iat,jti,auth_time,acr,sid,act,tokens,xsign" oneof:"iss,sub,username,handle,device,aud,client_id,scope,exp,iat,jti,auth_time,acr,sid,act,tokens,xsign"`
	// Reasons tells it why a token is not active, if it has the scope introspect:reason and proves a key.
	Reasons bool `key:"reasons" default:"true"`
	// Pairwise replaces users and devices by ids that no other caller gets, and leaves out handles.
	Pairwise bool `key:"pairwise"`
	// Release is the policy that these keys describe.
	Release *introspect.Release `json:"-"`
}

// A Peer is an issuer that may speak for another domain.
type Peer struct {
	// Domain is in lower-case A-labels. Issuer is the URL of its issuer, exactly as in iss. If it is empty, the issuer is discovered
	// through the domain.
	Domain string `key:"domain,required"`
	Issuer string `key:"issuer"`
	// JWKSFile holds the issuer's JWK Set. If it is empty, the keys are found through the issuer's metadata.
	JWKSFile string `key:"jwks_file"`
	// JWKS is the content of JWKSFile.
	JWKS []byte
	// CAFile holds the certificates of the CAs of the domain, PEM. They count for this domain alone.
	CAFile string `key:"ca_file"`
	// CA is the content of CAFile.
	CA []byte
	// Suspended keeps the peer in the list without trusting its tokens.
	Suspended bool `key:"suspended"`
	// Introspection limits what the clients and users of the peer are told about tokens.
	Introspection PeerRelease `key:"introspection"`
	// Chaining lets users of one domain get tokens of the issuer of the other.
	Chaining Chaining `key:"chaining"`
}

// Chaining is identity chaining with a peer (draft-ietf-oauth-identity-chaining).
type Chaining struct {
	// Give are the clients that may get authorization grants for the peer's issuer, for users of this issuer.
	Give []GivenClient `key:"give"`
	// Take are the ids of the clients that may use authorization grants of the peer's issuer, for users of the peer's domain.
	Take []string `key:"take"`
	// Lifetime is the longest life of the tokens that they get, 1m to 60m.
	Lifetime time.Duration `key:"lifetime" default:"10m"`
}

// A GivenClient is a client that may get authorization grants.
type GivenClient struct {
	// Client is its id here, As the id under which the peer's issuer knows it. Default: the same.
	Client string `key:"client,required"`
	As     string `key:"as"`
}

// A PeerRelease is a [ClientRelease] for callers that a peer vouches for.
type PeerRelease struct {
	Claims []string `key:"claims" default:"iss,sub,username,handle,device,aud,client_id,scope,exp,iat,jti,auth_time,acr,sid,act,tokens,xsign" oneof:"iss,sub,username,handle,device,aud,client_id,scope,exp,iat,jti,auth_time,acr,sid,act,tokens,xsign"`
	// Reasons tells them why a token is not active, if the peer gave them the scope introspect:reason.
	Reasons  bool `key:"reasons"`
	Pairwise bool `key:"pairwise"`
	// Release is the policy that these keys describe.
	Release *introspect.Release `json:"-"`
}

// A Secret is printed and marshalled as [secret]; string(s) is its value.
type Secret string

const hidden = "[secret]"

// String returns a placeholder, and so do all verbs of fmt.
func (Secret) String() string { return hidden }

// GoString returns a placeholder.
func (Secret) GoString() string { return hidden }

// MarshalText returns a placeholder, for encoding/json and log/slog.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Load reads the settings file at path and the ISSUER_ variables in env, which has the form of [os.Environ]. The error is of
// type [Errors].
func Load(path string, env []string) (*Config, error) {
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data, env)
}

// Parse is [Load] for a file that was read already: data is its content and name its path. Relative paths start at the folder
// of name.
func Parse(name string, data []byte, env []string) (*Config, error) {
	c, todo, err := examine(name, data, env)
	return complete(c, todo, err)
}

// complete adds todo to the errors: it returns settings only if nothing has to be made first.
func complete(c *Config, todo Errors, err error) (*Config, error) {
	if faults := (Errors)(nil); len(todo) > 0 {
		errors.As(err, &faults)
		faults = append(faults, todo...)
		faults.sort()
		return nil, faults
	}
	return c, err
}

// Check is [Load] without the requirement that everything is ready for a start. What has to be made before the first start on
// an empty data folder is in todo and not an error.
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
		d.overlay(root, "ISSUER_", env)
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
