package config

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/imidentity/issuer/internal/secretfile"
)

// A checker checks decoded settings, each value and their combinations, and resolves the paths of files. It reports every
// error at the path of the key that has to change.
type checker struct {
	*decoder
	*Config
	dir string // the folder of the settings file
}

func (k *checker) check() {
	if k.bad[""] {
		return
	}
	k.issuer("issuer", k.Issuer)
	if _, port, err := net.SplitHostPort(k.Listen); err != nil || !isPort(port) {
		k.report("listen", "%q is not host:port, as in 127.0.0.1:8080", k.Listen)
	}
	k.tls()
	k.places()
	k.adminListener()
	k.metricsListener()
	k.redis()
	k.audit()
	k.retention()
	k.outbound()
	k.tracing(&k.Tracing, k.TrustedProxies, "issuer")
	if len(k.DPoP.Algorithms) == 0 {
		k.report("dpop.algorithms", "no proof could be accepted: name an algorithm or leave the key out")
	}
	k.service()
	k.signing()
	k.lifetimes()
	k.between("limits.devices_per_user", k.Limits.DevicesPerUser, 1, 1000)
	k.between("limits.statements_per_user", k.Limits.StatementsPerUser, 10, 100_000)
	k.between("limits.revocations_per_user", k.Limits.RevocationsPerUser, 10, 100_000)
	k.between("limits.replay_proofs", k.Limits.ReplayProofs, 1000, 100_000_000)
	k.between("limits.waiting_logins", k.Limits.WaitingLogins, 100, 10_000_000)
	k.between("limits.waiting_address_percent", k.Limits.WaitingAddressPercent, 1, 100)
	k.between("limits.waiting_reserved_percent", k.Limits.WaitingReservedPercent, 0, 90)
	if l := k.Limits; k.where["limits.per_user_client"] != nil && l.PerUser.Count > 0 &&
		(l.PerUserClient.Count == 0 || l.PerUserClient.Count >= l.PerUser.Count) {
		k.report("limits.per_user_client", "must be smaller than limits.per_user: else one app of a user locks out the user's others")
	}
	k.domains()
	k.clients()
	k.registrations()
	k.peers()
}

// tls checks that certificate and key can be read and belong together.
func (k *checker) tls() {
	if k.TLS.CertFile != "" && k.TLS.KeyFile != "" && !strings.HasPrefix(k.Issuer, "https://") {
		k.report("tls", "goes with an https issuer")
	}
	k.certificate("tls", &k.TLS)
}

// certificate checks that a certificate and its key can be read and belong together, and resolves their paths.
func (k *checker) certificate(path string, t *TLS) {
	switch {
	case t.CertFile == "" && t.KeyFile == "":
		return
	case t.KeyFile == "":
		k.report(join(path, "key_file"), "is missing: name the file that holds the key of %s.cert_file", path)
		return
	case t.CertFile == "":
		k.report(join(path, "cert_file"), "is missing: name the file that holds the certificate for %s.key_file", path)
		return
	}
	t.CertFile, t.KeyFile = k.resolve(t.CertFile), k.resolve(t.KeyFile)
	cert, err := os.ReadFile(t.CertFile)
	if err != nil {
		k.report(join(path, "cert_file"), "%s cannot be read: %s", t.CertFile, cause(err))
		return
	}
	key, ok := k.private(join(path, "key_file"), t.KeyFile)
	if !ok {
		return
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		k.report(path, "%s and %s are not a certificate and its key: %v", t.CertFile, t.KeyFile, err)
	}
}

// places resolves the paths of files and folders.
func (k *checker) places() {
	k.Data = k.resolve(k.Data)
	k.Admin = k.place("admin", "unix", k.Admin, "admin.sock")
	k.database()
	// sun_path of sockaddr_un has 108 bytes with the closing zero, on some systems 104.
	if len(k.AdminSocket()) > 103 {
		k.report("admin", "the path has %d bytes, and the path of a socket has at most 103: choose a shorter one", len(k.AdminSocket()))
	}
	if k.KEKFile == "" {
		k.KEKFile = filepath.Join(k.Data, "kek")
	} else {
		k.KEKFile = k.resolve(k.KEKFile)
	}
	if k.KEKFileNew != "" {
		k.KEKFileNew = k.resolve(k.KEKFileNew)
		if k.KEKFileNew == k.KEKFile {
			k.report("kek_file_new", "this is the file in kek_file: name the file of another key, or remove this setting")
		} else {
			k.private("kek_file_new", k.KEKFileNew)
		}
	}
	if _, err := os.Stat(k.KEKFile); !os.IsNotExist(err) {
		k.private("kek_file", k.KEKFile)
	} else if !k.Development {
		report := k.report
		if _, err := os.Stat(k.Database()); os.IsNotExist(err) && !k.Postgres() {
			report = k.later // there is no database yet whose keys are sealed under it
		}
		report("kek_file", "%s does not exist: make it once with `(umask 077; mkdir -p %s; openssl rand -hex 32 > %s)` "+
			"and keep a copy, but not beside copies of the database", k.KEKFile, filepath.Dir(k.KEKFile), k.KEKFile)
	}
}

// audit checks what names the chain of records.
func (k *checker) audit() {
	if n := k.Audit.Node; n == "" || len(n) > 64 || strings.Trim(n, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" {
		k.report("audit.node", "%q is no name of a node: use 1 to 64 of the characters a to z, 0 to 9, - and dots", n)
	}
	const day = 24 * time.Hour
	k.lasts("audit.heads_every", k.Audit.HeadsEvery, time.Minute, 7*day, "1m and 7d")
	if k.Audit.HeadsFile != "" {
		k.Audit.HeadsFile = k.resolve(k.Audit.HeadsFile)
	}
}

// retention checks how long records are kept.
func (k *checker) retention() {
	const day = 24 * time.Hour
	r := k.Retention
	for _, p := range []struct {
		path string
		keep Period
	}{
		{"retention.audit", r.Audit}, {"retention.audit_details", r.AuditDetails},
		{"retention.devices", r.Devices}, {"retention.names", r.Names},
	} {
		if p.keep != 0 {
			k.lasts(p.path, time.Duration(p.keep), day, 3650*day, "1d and 3650d, or never")
		}
	}
	k.lasts("retention.events", r.Events, day, 3650*day, "1d and 3650d")
	k.lasts("retention.sessions", r.Sessions, 0, 3650*day, "0s and 3650d")
	if r.Audit != 0 && r.AuditDetails > r.Audit {
		k.report("retention.audit_details", "is longer than retention.audit: the details go with their records")
	}
}

// place resolves a value of the form SCHEME:PATH. The default is a file in the data folder.
func (k *checker) place(path, scheme, value, file string) string {
	if value == "" {
		return scheme + ":" + filepath.Join(k.Data, file)
	}
	name, ok := strings.CutPrefix(value, scheme+":")
	if !ok || name == "" {
		k.report(path, "%q is not of the form %s:PATH", value, scheme)
	}
	return scheme + ":" + k.resolve(name)
}

func (k *checker) resolve(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(k.dir, path)
}

// private reads a file of secrets. It reports a file that cannot be read, or that other users have access to.
func (k *checker) private(path, file string) (text []byte, ok bool) {
	text, err := secretfile.Read(file)
	switch open := (*secretfile.OpenError)(nil); {
	case err == nil:
		return text, true
	case errors.As(err, &open):
		k.report(path, "%v", open)
	case errors.Is(err, secretfile.ErrNotFile):
		k.report(path, "%v", err)
	default:
		k.report(path, "%s cannot be read: %s", file, cause(err))
	}
	return nil, false
}

// database checks which database stores the records.
func (k *checker) database() {
	if k.Storage == "postgres:" {
		k.Storage = "postgres"
	}
	switch {
	case strings.HasPrefix(k.Storage, "postgres://"), strings.HasPrefix(k.Storage, "postgresql://"):
		k.report("storage", "write postgres here and the URL, which has a password, into the file of storage_url_file")
	case !k.Postgres():
		k.Storage = k.place("storage", "sqlite", k.Storage, "issuer.db")
		if k.StorageURLFile != "" {
			k.report("storage_url_file", "has no use without storage: postgres")
		}
	case k.StorageURLFile == "":
		k.report("storage", "postgres needs storage_url_file: a file for the issuer alone that holds "+
			"postgres://USER:PASSWORD@HOST:PORT/DATABASE")
	default:
		k.StorageURLFile = k.resolve(k.StorageURLFile)
		k.StorageURL = k.secret("storage_url_file", k.StorageURLFile)
	}
	if k.Postgres() && k.Replay == "memory" {
		k.report("replay", "memory remembers the spent proofs of one process, and storage: postgres is for several: "+
			"choose storage or redis")
	}
}

func (k *checker) redis() {
	switch {
	case k.Replay != "redis" && k.RedisURLFile != "":
		k.report("redis_url_file", "has no use without replay: redis")
	case k.Replay == "redis" && k.RedisURLFile == "":
		k.report("replay", "redis needs redis_url_file: a file for the issuer alone that holds redis://USER:PASSWORD@HOST:PORT/DB")
	case k.RedisURLFile != "":
		k.RedisURLFile = k.resolve(k.RedisURLFile)
		k.RedisURL = k.secret("redis_url_file", k.RedisURLFile)
	}
}

func (k *checker) outbound() {
	o := &k.Outbound
	if o.Proxy != "" {
		k.url("outbound.proxy", o.Proxy, "http", "https")
	}
	if o.CAFile != "" {
		o.CAFile = k.resolve(o.CAFile)
		if _, err := os.ReadFile(o.CAFile); err != nil {
			k.report("outbound.ca_file", "%s cannot be read: %s", o.CAFile, cause(err))
		}
	}
	if len(o.DevHosts) > 0 && !k.Development {
		k.report("outbound.dev_hosts", "needs development: true")
	}
	for host, addr := range o.DevHosts {
		_, err := netip.ParseAddr(addr)
		if _, err2 := netip.ParseAddrPort(addr); err != nil && err2 != nil {
			k.report(join("outbound.dev_hosts", host), "%q is not an address such as 127.0.0.1 or 127.0.0.1:8081", addr)
		}
	}
}

func (k *checker) signing() {
	const day = 24 * time.Hour
	ahead, every := k.Signing.PublishAhead, time.Duration(k.Signing.RotateEvery)
	k.lasts("signing.publish_ahead", ahead, 10*time.Minute, 30*day, "10m and 30d")
	if every == 0 {
		return
	}
	k.lasts("signing.rotate_every", every, time.Hour, 3650*day, "1h and 3650d, or never")
	if every <= ahead {
		k.report("signing.rotate_every",
			"is not longer than signing.publish_ahead: the next key would have to be published before this one signs")
	}
}

func (k *checker) lifetimes() {
	l := k.Lifetimes
	const day = 24 * time.Hour
	k.lasts("lifetimes.access", l.Access, time.Minute, time.Hour, "1m and 60m")
	k.lasts("lifetimes.code", l.Code, time.Second, time.Minute, "1s and 60s")
	k.lasts("lifetimes.device_code", l.DeviceCode, time.Minute, 30*time.Minute, "1m and 30m")
	k.lasts("lifetimes.refresh_idle", l.RefreshIdle, time.Minute, 3650*day, "1m and 3650d")
	k.lasts("lifetimes.refresh_max", l.RefreshMax, time.Minute, 3650*day, "1m and 3650d")
	k.lasts("lifetimes.statement", l.Statement, time.Minute, 366*day, "1m and 366d")
	k.lasts("lifetimes.credential", l.Credential, time.Hour, 90*day, "1h and 90d")
	if l.RefreshIdle > l.RefreshMax {
		k.report("lifetimes.refresh_idle", "is longer than lifetimes.refresh_max: a session ends at the shorter one")
	}
}

func (k *checker) lasts(path string, t, least, most time.Duration, words string) {
	if t < least || t > most {
		k.report(path, "must be between %s", words)
	}
}

func (k *checker) between(path string, n, least, most int) {
	if n < least || n > most {
		k.report(path, "must be between %d and %d", least, most)
	}
}

var providerID = word{regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`), 32}

func (k *checker) domains() {
	if len(k.Domains) == 0 {
		k.report("domains", "is empty: name the domains that the issuer issues identities in")
	}
	names, providers := make(map[string]string), make(map[string]string)
	cas := make(map[string]string) // the domain of each CA
	for i := range k.Domains {
		d, path := &k.Domains[i], index("domains", i)
		k.unique(names, join(path, "name"), d.Name)
		k.domain(join(path, "name"), d.Name)
		k.system(path, d)
		if d.Claims.Handle == "" {
			k.report(join(path, "claims.handle"), "is empty: name the claim that holds the handle")
		}
		k.claims(path, d)
		k.rename(join(path, "rename"), d)
		k.wire(join(path, "wire"), d)
		k.otherIssuers(join(path, "other_issuers"), d.OtherIssuers)
		k.ca(join(path, "ca"), d, cas)
		if len(d.Providers) == 0 {
			k.report(join(path, "providers"), "is empty: name the OpenID provider where users of the domain log in")
		}
		k.subjects(join(path, "providers"), d.Providers)
		shown := make(map[string]string) // names on the page that lets users choose a provider
		for j := range d.Providers {
			p, path := &d.Providers[j], index(join(path, "providers"), j)
			first := k.unique(providers, join(path, "id"), p.ID)
			k.provider(p, path)
			if first {
				k.unique(shown, join(path, "name"), p.Name)
			}
			if !p.AuthoritativeHandles && !d.ChooseHandle {
				k.report(join(path, "authoritative_handles"), "no user could get a handle: set it if the provider's users cannot "+
					"choose the value of the handle claim freely, or let users choose (choose_handle)")
			}
		}
	}
}

// rename checks that the users of a domain can be renamed as its rule says.
func (k *checker) rename(path string, d *Domain) {
	const day = 24 * time.Hour
	k.lasts(join(path, "every"), d.Rename.Every, time.Hour, 3650*day, "1h and 3650d")
	switch {
	case d.Rename.By == "admin":
	case d.System == "xmpp":
		k.report(join(path, "by"), "has no use in XMPP, where the handle is the user: leave it out")
	case d.Rename.By == "provider" && !slices.ContainsFunc(d.Providers, func(p Provider) bool { return p.AuthoritativeHandles }):
		k.report(join(path, "by"), "provider has no effect: no provider of the domain has authoritative_handles")
	}
}

// system checks that identities can be issued in the identifier system of a domain. Others can only be parsed and converted.
func (k *checker) system(path string, d *Domain) {
	key := join(path, "system")
	switch d.System {
	case "generic", "wxyz", "wire":
	case "xmpp":
		if d.Claims.User != "" {
			k.report(join(path, "claims.user"), "has no use in XMPP, where the handle is the user: leave it out")
		}
	case "irc", "sip", "email":
		k.report(key, "identifiers of %q are understood but never issued: use generic, wxyz, wire or xmpp", d.System)
	case "mimi":
		k.report(key, "mimi is a form, not a system: use system: generic and uri: mimi")
	default:
		k.report(key, "%q is not an identifier system: use generic, wxyz, wire or xmpp", d.System)
	}
}

func (k *checker) provider(p *Provider, path string) {
	if !providerID.MatchString(p.ID) {
		k.report(join(path, "id"), "%q is not 1 to 32 lower-case letters, digits and inner hyphens", p.ID)
	}
	if p.Name == "" {
		p.Name = p.ID
	} else {
		k.displayed(join(path, "name"), p.Name)
	}
	// OpenID Connect Discovery 1.0 §4.3 compares the issuer byte by byte: it may have a path and a closing slash.
	k.secureURL(join(path, "issuer"), p.Issuer)
	if p.ClientID == "" {
		k.report(join(path, "client_id"), "is empty: it is the id that the provider gave this issuer")
	}
	if p.ClientSecretFile != "" {
		p.ClientSecretFile = k.resolve(p.ClientSecretFile)
		p.ClientSecret = k.secret(join(path, "client_secret_file"), p.ClientSecretFile)
	}
	if !slices.Contains(p.Scopes, "openid") {
		k.report(join(path, "scopes"), "openid is missing: without it the provider gives no identity")
	}
	const day = 24 * time.Hour
	if p.Recheck != 0 {
		k.lasts(join(path, "recheck"), p.Recheck, time.Hour, 30*day, "1h and 30d")
	} else if p.RecheckRequired {
		k.report(join(path, "recheck_required"), "has no effect without recheck: set it to how often the provider is asked, such as 24h")
	}
	k.lasts(join(path, "recheck_grace"), p.RecheckGrace, 0, 30*day, "0s and 30d")
}

// displayed checks a name that pages show.
func (k *checker) displayed(path, name string) {
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	if n := utf8.RuneCountInString(name); n > 64 || strings.TrimSpace(name) != name || strings.ContainsFunc(name, unprintable) {
		k.report(path, "%q is not 1 to 64 printable characters, without spaces around them", name)
	}
}

// secret reads a file that holds one secret, without the line end behind it.
func (k *checker) secret(path, file string) Secret {
	data, ok := k.private(path, file)
	if !ok {
		return ""
	}
	s := strings.TrimRight(string(data), "\r\n")
	if s == "" {
		k.report(path, "%s is empty", file)
	}
	return Secret(s)
}

// unique reports a value that an earlier path has, and returns whether the value is new.
func (k *checker) unique(seen map[string]string, path, value string) bool {
	if k.bad[path] {
		return false
	}
	if first, ok := seen[value]; ok {
		k.report(path, "%q is taken by %s", value, first)
		return false
	}
	seen[value] = path
	return true
}

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}
