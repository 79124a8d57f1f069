package layering_test

// module is the path that the names below are relative to.
const module = "github.com/imidentity/issuer"

// all stands for every other package of the module but those that only tests may import.
const all = "*"

// arrows lists the packages of this module that each package may import. Tests may import more. A line may exist before its
// package does.
var arrows = map[string][]string{
	"internal/errtext": {},
	"internal/fetch":   {},
	"internal/follow":  {},
	"internal/jose":    {},
	"internal/random":  {},
	"storage":          {},

	"internal/assertion":  {"internal/jose"},
	"internal/audit":      {"internal/jose", "storage"},
	"internal/oautherror": {"internal/errtext"},
	"internal/sealed":     {},
	"internal/secretfile": {},
	"internal/published":  {"internal/fetch"},

	// Libraries for other programs, too (see light).
	"claims":     {"internal/jose"},
	"dpop":       {"internal/errtext", "internal/jose"},
	"trust":      {"claims", "internal/bucket", "internal/fetch", "internal/jose", "internal/published"},
	"nested":     {"claims", "internal/jose"},
	"introspect": {"claims", "dpop", "feed", "internal/errtext", "internal/fetch", "internal/jose", "internal/published", "nested", "trust"},
	"statuslist": {"internal/fetch", "internal/jose", "internal/published"},
	"credential": {"claims", "nested", "statuslist"},
	"feed":       {"internal/jose"},
	"chaining":   {"claims", "internal/jose", "nested"},
	"gateway":    {"claims", "dpop", "feed", "internal/errtext", "internal/jose", "introspect", "nested", "statuslist", "trust"},

	"credential/cwt":   {"claims", "credential", "internal/jose", "nested", "statuslist"},
	"credential/sdjwt": {"claims", "credential", "internal/jose", "statuslist"},
	"credential/cert":  {"claims", "credential", "internal/fetch", "internal/jose", "internal/published"},
	"credential/mls":   {"claims", "credential", "credential/cert", "credential/cwt", "credential/sdjwt", "internal/jose"},

	"verdict": {"claims", "credential", "internal/jose", "introspect", "nested"},
	"xsign":   {"claims", "internal/jose", "verdict"},
	"places":  {"claims", "internal/fetch", "internal/jose", "verdict"},

	"xsign/matrix": {"claims", "internal/jose", "verdict", "xsign"},

	"gateway/forwardauth": {"dpop", "gateway", "internal/jose", "internal/published"},

	"types/api": {},

	"keys":       {"internal/follow", "internal/jose", "internal/secretfile", "storage"},
	"account":    {"claims", "internal/audit", "revocation", "storage"},
	"revocation": {"claims", "feed", "internal/follow", "introspect", "storage"},
	"clients":    {"internal/assertion", "internal/audit", "internal/oautherror", "internal/random", "introspect", "nested", "revocation", "storage"},
	"statements": {
		"account", "claims", "clients", "internal/audit", "internal/jose", "internal/oautherror", "internal/random", "nested", "revocation", "storage",
	},
	"oauth": {
		"account", "chaining", "claims", "clients", "dpop", "internal/audit", "internal/jose", "internal/oautherror", "internal/random", "keys",
		"nested", "revocation", "statements", "storage",
	},
	"internal/statuses": {"claims", "statuslist", "storage"},
	"internal/certs":    {"credential/cert", "storage"},
	"internal/vci": {
		"account", "claims", "clients", "credential", "credential/cert", "credential/cwt", "credential/sdjwt", "dpop", "internal/audit",
		"internal/certs", "internal/errtext", "internal/holder", "internal/jose", "internal/random", "statuslist", "storage",
	},
	"internal/holder": {"claims", "clients", "storage"},
	"internal/signed": {"account", "claims", "internal/audit", "internal/jose", "introspect", "places", "storage", "xsign"},
	"internal/wire": {
		"claims", "clients", "dpop", "internal/audit", "internal/errtext", "internal/holder", "internal/jose", "internal/random", "keys",
		"storage",
	},
	"login": {"account", "internal/errtext", "internal/fetch", "internal/jose", "internal/published", "internal/random"},
	"signin": {
		"account", "claims", "clients", "dpop", "internal/audit", "internal/follow", "internal/random", "login", "oauth", "storage",
	},
	"recheck": {"account", "internal/audit", "internal/random", "keys", "login", "revocation", "storage"},
	"web":     {"account", "claims", "internal/qr", "oauth", "signin"},

	"storage/internal/row":   {"storage"},
	"storage/internal/sweep": {"storage", "storage/internal/row"},
	"storage/transfer":       {},
	"storage/sqlite":         {"dpop", "storage", "storage/internal/row", "storage/internal/sweep", "storage/transfer"},
	"storage/postgres":       {"dpop", "storage", "storage/internal/row", "storage/internal/sweep", "storage/transfer"},
	"storage/redis":          {"dpop", "internal/bucket", "storage"},

	"internal/config": {
		"claims", "dpop", "internal/assertion", "internal/certs", "internal/fetch", "internal/secretfile", "introspect", "trust", "verdict",
	},
	"internal/registration": {"clients", "internal/config", "internal/errtext", "internal/jose", "storage"},
	"internal/qr":           {},
	"internal/client":       {"claims", "dpop", "internal/assertion", "internal/jose", "types/api"},
	"internal/sasl":         {"claims", "dpop", "internal/jose", "introspect"},
	"internal/devidp":       {},
	"internal/httpapi":      {"internal/jose", "nested", "oauth", "types/api"},
	"internal/scim":         {"account", "claims", "internal/errtext", "internal/jose"},
	"internal/admin": {
		"account", "claims", "clients", "internal/audit", "internal/config", "internal/errtext", "internal/httpapi", "internal/idempotency", "internal/jose", "keys", "nested",
		"oauth", "statements", "storage", "types/api",
	},
	"internal/server": {
		"account", "chaining", "claims", "clients", "credential/cert", "dpop", "internal/assertion", "internal/audit", "internal/bucket",
		"internal/certs", "internal/errtext", "feed", "internal/holder", "internal/httpapi", "internal/jose", "internal/random", "internal/registration",
		"internal/scim", "internal/signed", "internal/statuses", "internal/trace", "internal/vci", "internal/wire",
		"introspect", "keys",
		"login", "nested",
		"oauth", "places", "recheck", "revocation", "signin", "statements", "storage", "trust", "types/api", "web", "xsign",
	},
	"internal/trace":  {"dpop", "internal/fetch", "storage"},
	"internal/issuer": {all},
	"internal/edge": {
		"claims", "dpop", "feed", "gateway", "gateway/forwardauth", "internal/assertion", "internal/client", "internal/config", "internal/fetch",
		"internal/issuer", "internal/jose", "internal/published", "internal/trace", "introspect", "nested", "statuslist", "trust",
	},
	"internal/cli": {
		"claims", "credential", "credential/cert", "credential/cwt", "credential/sdjwt", "dpop",
		"internal/assertion", "internal/audit", "internal/client", "internal/config", "internal/demo", "internal/doctor",
		"internal/edge", "internal/fetch",
		"internal/issuer", "internal/jose", "internal/qr", "internal/sasl", "internal/sealed", "internal/secretfile", "introspect", "nested", "places",
		"statuslist", "storage", "trust", "types/api", "verdict", "web", "xsign",
	},
	"internal/doctor": {
		"claims", "credential/cert", "internal/certs", "internal/client", "internal/config", "internal/fetch", "internal/issuer", "internal/secretfile", "keys", "login",
	},
	"internal/demo": {
		"claims", "credential", "credential/cert", "credential/cwt", "credential/sdjwt", "dpop", "internal/browser", "internal/client",
		"internal/config", "internal/devidp", "internal/issuer", "internal/server",
		"gateway", "introspect", "statuslist", "trust", "types/api",
	},
	"cmd/issuer": {"internal/cli"},

	"docs/examples/app":      {"dpop"},
	"docs/examples/keyed":    {"dpop"},
	"docs/examples/offline":  {"dpop", "gateway", "trust"},
	"docs/examples/resource": {"dpop"},
	"docs/examples/service":  {"dpop"},
	"docs/examples/status":   {"statuslist", "trust"},

	"internal/browser":  {},
	"internal/faults":   {},
	"internal/bucket":   {},
	"internal/layering": {},
	"internal/measure": {
		"claims", "dpop", "internal/browser", "internal/client", "internal/config", "internal/devidp", "internal/edge", "internal/issuer",
		"internal/jose", "storage", "storage/postgres/postgrestest", "storage/sqlite/sqlitetest",
	},
	"internal/simulation": {
		"account", "claims", "clients", "dpop", "internal/audit", "internal/statuses", "introspect", "keys", "oauth", "revocation",
		"statements", "statuslist", "storage",
	},
	"internal/timed":       {"storage"},
	"internal/idempotency": {"storage"},
	"storage/generate":     {},
	"dpop/dpoptest":        {"dpop", "internal/jose"},
	"dpop/replaytest":      {"dpop"},
	"storage/storagetest":  {"storage"},

	"storage/postgres/postgrestest": {},
	"storage/sqlite/sqlitetest":     {"storage/sqlite"},
	"internal/trace/tracetest":      {},
	"internal/devidp/devidptest":    {"internal/devidp"},
	"internal/vectortest":           {"claims", "internal/jose"},

	"scripts/racing": {},
}

// databases lists the packages that only internal/issuer and the packages of tests may import, whatever the table above says.
var databases = []string{"storage/sqlite", "storage/postgres", "storage/redis"}

// testOnly lists the packages that only tests import.
var testOnly = []string{
	"dpop/dpoptest", "dpop/replaytest", "internal/devidp/devidptest", "internal/simulation", "internal/trace/tracetest",
	"internal/vectortest", "storage/postgres/postgrestest", "storage/sqlite/sqlitetest", "storage/storagetest",
}

// confined lists the packages that may import a library: those that would change if it were replaced. Other libraries may be
// imported anywhere.
var confined = map[string][]string{
	"database/sql":                 {"storage/sqlite", "storage/sqlite/sqlitetest", "storage/postgres"},
	"github.com/alecthomas/kong":   {"cmd/issuer", "internal/cli"},
	"github.com/boombuler/barcode": {"internal/qr"},
	"github.com/coreos/go-oidc":    {"login"},
	"github.com/fxamacker/cbor":    {"credential/cwt"},
	"github.com/jackc/pgx":         {"storage/postgres"},
	"github.com/labstack/echo":     {"internal/admin", "internal/httpapi", "internal/server", "web"},
	"github.com/lestrrat-go/jwx":   {"keys"},
	"github.com/ory/fosite":        {"oauth"},
	"github.com/pressly/goose":     {"storage/sqlite", "storage/postgres"},
	"github.com/redis/go-redis":    {"storage/redis"},
	"github.com/veraison/go-cose":  {"credential/cwt"},
	"github.com/zitadel/oidc":      {"internal/devidp"},
	"go.yaml.in/yaml":              {"internal/config"},
	"golang.org/x/crypto/argon2":   {"internal/sealed"},
	"golang.org/x/term":            {"internal/cli"},
	"go.opentelemetry.io":          {"internal/trace", "internal/trace/tracetest"},
	"modernc.org/libc":             {"storage/sqlite"},
	"modernc.org/sqlite":           {"storage/sqlite", "storage/sqlite/sqlitetest"},
}

// light lists the libraries for other programs, and heavy the packages on which they must not depend, at any depth.
var (
	light = []string{
		"credential/cert",
		"chaining", "claims", "credential", "credential/cwt", "credential/mls", "credential/sdjwt", "dpop", "feed", "gateway",
		"gateway/forwardauth", "introspect", "nested", "places", "statuslist", "trust", "verdict", "xsign", "xsign/matrix",
	}
	heavy = []string{
		"database/sql",
		"github.com/alecthomas/kong",
		"github.com/jackc/pgx",
		"github.com/labstack/echo",
		"github.com/ory/fosite",
		"github.com/pressly/goose",
		"github.com/redis/go-redis",
		"github.com/zitadel/oidc",
		"go.opentelemetry.io",
		"go.yaml.in/yaml",
		"modernc.org/sqlite",
	}
)
