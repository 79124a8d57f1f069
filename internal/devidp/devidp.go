// Package devidp is an OpenID provider for development and tests. The OP package of github.com/zitadel/oidc implements the
// protocol. This package adds users, clients, a login page and storage in memory.
//
// Its passwords are public, so it is local only: [New] requires an issuer on a loopback address, and the handler answers
// only callers from one.
package devidp

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"

	"github.com/zitadel/oidc/v3/pkg/op"
)

// ErrNotLoopback is returned by [New] for an issuer that other machines could reach.
var ErrNotLoopback = errors.New("devidp: this provider is for development, and is served on loopback addresses only")

// A Person is a user who can log in. The password is the user name.
type Person struct {
	Subject  string // the sub claim: stable, and not the user name
	Username string // the preferred_username claim
	Name     string
	Email    string
}

// Alice and Bob are the users of a provider whose configuration has none.
var (
	Alice = Person{Subject: "dev-10021", Username: "alice", Name: "Alice Example", Email: "alice@example.com"}
	Bob   = Person{Subject: "dev-10022", Username: "bob", Name: "Bob Example", Email: "bob@example.com"}
)

// A Client is an application whose users log in here.
type Client struct {
	ID           string
	Secret       string // empty for a public client, which then has to use PKCE
	RedirectURIs []string
}

// Config configures a provider.
type Config struct {
	// Issuer is the provider's URL: a loopback address or localhost, any port, no path. Required.
	Issuer string
	// Clients are the registered clients. At least one.
	Clients []Client
	// People are the users. Nil means Alice and Bob.
	People []Person
}

// New returns the provider as a handler for the root of its issuer URL.
func New(cfg Config) (http.Handler, error) {
	if err := checkIssuer(cfg.Issuer); err != nil {
		return nil, err
	}
	if len(cfg.Clients) == 0 {
		return nil, errors.New("devidp: no client")
	}
	if cfg.People == nil {
		cfg.People = []Person{Alice, Bob}
	}
	s, err := newStore(cfg)
	if err != nil {
		return nil, err
	}
	opts := &op.Config{CodeMethodS256: true, AuthMethodPost: true}
	if _, err := rand.Read(opts.CryptoKey[:]); err != nil {
		return nil, fmt.Errorf("devidp: %w", err)
	}
	provider, err := op.NewProvider(opts, s, op.StaticIssuer(cfg.Issuer), op.WithAllowInsecure(), op.WithCORSOptions(nil))
	if err != nil {
		return nil, fmt.Errorf("devidp: %w", err)
	}
	pages := &pages{store: s, provider: provider}
	mux := http.NewServeMux()
	mux.Handle("/", provider)
	mux.HandleFunc("GET "+loginPath, pages.show)
	mux.HandleFunc("POST "+loginPath, pages.submit)
	return loopbackOnly(mux), nil
}

// checkIssuer accepts http and https URLs with a loopback address or localhost, without a path.
func checkIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.String() != u.Scheme+"://"+u.Host {
		return fmt.Errorf("devidp: issuer %q must be a URL of a scheme and a host only", issuer)
	}
	if ip, err := netip.ParseAddr(u.Hostname()); u.Hostname() != "localhost" && (err != nil || !ip.IsLoopback()) {
		return ErrNotLoopback
	}
	return nil
}

// loopbackOnly refuses callers from other machines, in case the listener is open to them.
func loopbackOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		if ip, err := netip.ParseAddr(host); err != nil || !ip.Unmap().IsLoopback() {
			http.Error(w, ErrNotLoopback.Error(), http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
