// Package server serves the issuer by HTTP: its routes, the headers of every answer, limits, and errors on the wire.
//
// The rules are in the packages below. A handler reads the request, makes one call, and writes the answer. The endpoints for
// operators are in internal/admin; this package serves their routes.
package server

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/certs"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/internal/registration"
	"github.com/imidentity/issuer/internal/scim"
	"github.com/imidentity/issuer/internal/signed"
	"github.com/imidentity/issuer/internal/statuses"
	"github.com/imidentity/issuer/internal/trace"
	"github.com/imidentity/issuer/internal/vci"
	"github.com/imidentity/issuer/internal/wire"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/login"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/signin"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/web"
)

// Config configures [New]. All fields are required but those that say otherwise.
type Config struct {
	// Issuer is the server's own URL, without a slash at its end. If it has a path, everything is served below that.
	Issuer string
	// Domains are the domains that the issuer speaks for.
	Domains []string
	// OtherIssuers are the issuers that the document of a domain names beside this one, by domain.
	OtherIssuers map[string][]string
	// Algorithms are the accepted algorithms of proofs, for the metadata.
	Algorithms   []string
	Registry     *clients.Registry
	Statements   *statements.Service
	OAuth        *oauth.Provider
	Accounts     *account.Accounts
	Introspector *introspect.Introspector
	// Peers are the issuers of other domains. Their clients and users may ask about tokens. Nil means that there are none.
	Peers Peers
	// Registrations lets clients register themselves. Nil lets none.
	Registrations *registration.Service
	// Feed tells callers of revocations.
	Feed   *revocation.Feed
	Proofs *dpop.Verifier
	Keys   *keys.Ring
	// Credentials issues credentials to devices.
	Credentials *vci.Service
	// Wire makes tokens for certificate authorities of Wire.
	Wire *wire.Service
	// Signed stores and serves what users sign with keys of their own.
	Signed *signed.Service
	// CAs are the certification authorities of the domains. Nil if there are none.
	CAs *certs.Authorities
	// Statuses are the status lists of the issuer.
	Statuses *statuses.Lists
	Store    storage.Store
	// ChooseHandle has the domains whose users may choose their handles.
	ChooseHandle map[string]bool
	// Systems are the identifier systems of the domains.
	Systems map[string]claims.System
	// Service describes the operator on the pages, until [Server.SetService].
	Service web.Service
	// Logins are the OpenID providers by their ids.
	Logins map[string]*login.Provider
	// Upstream keeps the refresh tokens that they give. Nil keeps none.
	Upstream signin.Upstream
	// TrustedProxies are the networks of proxies whose X-Forwarded-For or Forwarded header is used. Nil uses none.
	TrustedProxies []netip.Prefix
	// Metrics receives the server's measurements, and GET /metrics serves it. It may be that of one server only. Nil means a
	// registry of its own.
	Metrics *prometheus.Registry
	// Limits are the rate limits. Nil limits nothing.
	Limits *Limits
	// PendingLogins bounds the logins and pushed requests that are stored at a time. Its zero value is no limit.
	PendingLogins signin.QuotaSize
	// Ready returns an error while the server cannot do its work.
	Ready func(context.Context) error
	// OperatorRoutes are the routes that [Server.Admin] serves beside GET /metrics and the profiles, and [Server.Operators] over the
	// network.
	OperatorRoutes []httpapi.Route
	// OperatorsURL is the origin of [Server.Operators] for its callers, whose proofs name it. Empty means that it serves no one.
	// OperatorsBehindProxy has it answer only requests from TrustedProxies.
	OperatorsURL         string
	OperatorsBehindProxy bool
	// SCIMForOperators serves SCIM at [Server.Operators] in place of [Server.Public]. It needs OperatorsURL.
	SCIMForOperators bool
	// Time returns an error while the server does not know the time. Nil means that it always does.
	Time func() error
	// Tracer traces requests. Nil traces none.
	Tracer *trace.Tracer
	// QueryKey seals the query of a page that pending logins store. Zero means a random one: see [signin.Config].
	QueryKey [32]byte
	// QueryKeys replaces it by keys that change: see [signin.Config].
	QueryKeys func() ([][32]byte, error)
	// LoginTime is how long a user may take at their OpenID provider. Zero means ten minutes.
	LoginTime time.Duration
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Rand makes states, cookies and request ids. Nil means [crypto/rand.Reader].
	Rand io.Reader
	// Log receives requests and failures. Nil discards them.
	Log *slog.Logger
}

// A Server has four handlers: [Server.Public] for everybody, [Server.Admin] for operators at the admin socket,
// [Server.Operators] for operators over the network, and [Server.Monitor] for monitoring.
type Server struct {
	Config

	metrics   *metrics
	described atomic.Pointer[web.Service]
	ids       requestIDs
	quota     *signin.Quota
	signIn    *signin.Logins
	secure    bool   // served by https
	prefix    string // the path of the issuer's URL, without a slash at its end; mostly empty
	host      string // of the issuer's URL
	origin    string // of the issuer's URL, as browsers write it
	metadata  []byte
	// credentials and vcIssuer are the documents about credentials.
	credentials, vcIssuer []byte
	// documents are the documents of the domains, which name their issuers.
	documents map[string]tagged
	self      *dpop.Resource // the issuer as a resource of its own
	holders   *dpop.Resource // the same for the holders of any token of the issuer
	asked     *dpop.Resource // the same for callers of introspection, who may be from a peer
	rekeying  *dpop.Resource // the same for devices that replace their key, also again
	operating *dpop.Resource // the endpoints for operators over the network; nil if there are none
	waiting   waiters        // the requests of users that wait for events
	scim      *scim.Service
	managing  *dpop.Resource // the endpoints of SCIM: self, or operating
	public    *echo.Echo
	admin     *echo.Echo
	operators *echo.Echo
	monitor   *echo.Echo
}

// New returns a server.
func New(cfg Config) (*Server, error) {
	issuer, err := url.Parse(cfg.Issuer)
	if err != nil || issuer.Host == "" {
		return nil, errors.New("server: Config.Issuer is not an absolute URL")
	}
	if cfg.Registry == nil || cfg.Statements == nil || cfg.OAuth == nil || cfg.Accounts == nil || cfg.Introspector == nil ||
		cfg.Proofs == nil || cfg.Keys == nil || cfg.Statuses == nil || cfg.Credentials == nil || cfg.Wire == nil ||
		cfg.Feed == nil || cfg.Store == nil || cfg.Ready == nil {
		return nil, errors.New("server: Config is incomplete")
	}
	if cfg.SCIMForOperators && cfg.OperatorsURL == "" {
		return nil, errors.New("server: Config.SCIMForOperators needs Config.OperatorsURL")
	}
	if cfg.Time == nil {
		cfg.Time = func() error { return nil }
	}
	if cfg.LoginTime == 0 {
		cfg.LoginTime = 10 * time.Minute
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Limits == nil {
		cfg.Limits = NewLimits(Rates{}, cfg.Now)
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = prometheus.NewRegistry()
	}
	s := &Server{
		Config: cfg, metrics: newMetrics(cfg.Metrics),
		secure: issuer.Scheme == "https", prefix: issuer.Path, host: issuer.Hostname(), origin: originOf(issuer),
	}
	s.SetService(cfg.Service)
	s.ids.source = cfg.Rand
	for id := range cfg.Logins {
		s.metrics.provider(id)
	}
	s.quota = signin.NewQuota(cfg.PendingLogins, cfg.Now)
	if s.signIn, err = s.newSignIn(); err != nil {
		return nil, err
	}
	if s.metadata, err = s.describe(); err != nil {
		return nil, err
	}
	if err := s.describeCredentials(); err != nil {
		return nil, err
	}
	if s.documents, err = s.documentsOfDomains(); err != nil {
		return nil, err
	}
	if s.self, err = s.newSelf(); err != nil {
		return nil, err
	}
	if s.holders, err = s.newHolders(); err != nil {
		return nil, err
	}
	if s.asked, err = s.newAsked(); err != nil {
		return nil, err
	}
	if s.rekeying, err = s.newRekeying(); err != nil {
		return nil, err
	}
	if s.operating, err = s.newOperating(); err != nil {
		return nil, err
	}
	s.openSCIM()
	s.public = s.router(s.publicRoutes())
	if s.prefix != "" {
		s.public.Pre(s.mount())
	}
	s.admin = s.router(s.adminRoutes())
	s.operators = s.router(s.operatorRoutes())
	s.monitor = s.router(s.monitorRoutes())
	return s, nil
}

// Public returns the handler of the public endpoints.
func (s *Server) Public() http.Handler { return s.public }

// Admin returns the handler for operators. It authenticates no caller, so only the operator may reach its listener.
func (s *Server) Admin() http.Handler { return s.admin }

// Operators returns the handler for operators over the network. It admits services with the scope admin, and serves SCIM if
// Config.SCIMForOperators says so.
func (s *Server) Operators() http.Handler { return s.operators }

// Monitor returns the handler for monitoring: the health checks and the metrics, without authentication.
func (s *Server) Monitor() http.Handler { return s.monitor }

// SetPendingLogins changes the bounds of the logins and pushed requests that are stored at a time.
func (s *Server) SetPendingLogins(size signin.QuotaSize) { s.quota.Resize(size) }

// SetService changes how pages describe the operator.
func (s *Server) SetService(service web.Service) { s.described.Store(&service) }

// service describes the operator on the pages.
func (s *Server) service() web.Service { return *s.described.Load() }

// CountPendingLogins counts the stored logins of earlier processes. Call it before the server serves.
func (s *Server) CountPendingLogins(ctx context.Context) error {
	return s.quota.Recount(ctx, s.Store.Waiting)
}

// Run does the server's background work until ctx ends.
func (s *Server) Run(ctx context.Context) { s.quota.Follow(ctx, s.Store.Waiting, s.Log) }

// A Route is a method and a path of the server, as OpenAPI writes it.
type Route struct{ Method, Path string }

// Routes lists the public routes.
func (s *Server) Routes() []Route {
	var list []Route
	for _, r := range s.publicRoutes() {
		list = append(list, Route{r.method, r.path})
	}
	return list
}

// HTTP returns an http.Server with limits for slow and large requests.
func HTTP(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
