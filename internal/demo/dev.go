// Package demo runs the issuer for development, with an OpenID provider that knows the users alice and bob, and three clients.
// [Start] runs it until it is stopped. [Run] plays a story with it, and checks each step.
package demo

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/devidp"
	"github.com/imidentity/issuer/internal/issuer"
	"github.com/imidentity/issuer/internal/server"
)

// Names of the development set-up.
const (
	Domain   = "example.com"
	AppID    = "im-app" // public client with logins, at any loopback port
	PeerID   = "peer"   // confidential client that introspects tokens of the domain and gets service tokens
	BotID    = "bot"    // confidential client that acts for users who allow it
	provider = "dev"

	// appRedirect is the redirect URI of the app at the OpenID provider itself, where it must match exactly.
	appRedirect = "http://127.0.0.1:7777/callback"

	defaultData           = "./data"
	defaultListen         = "127.0.0.1:8080"
	defaultProviderListen = "127.0.0.1:8081"
)

// Options configures [Start]. Ports may be 0.
type Options struct {
	// Data is the folder of the database and dev.env. It is created if it is missing. If it is empty, the settings decide; their
	// default is ./data.
	Data string
	// Listen and ProviderListen are host:port on a loopback address. If Listen is empty, the settings decide; their default is
	// 127.0.0.1:8080. The default of ProviderListen is 127.0.0.1:8081.
	Listen         string
	ProviderListen string
	// Overlay is a settings document that overrides the development settings, and Name its name. The variables in Env override
	// both ([config.ParseOver]).
	Overlay []byte
	Name    string
	Env     []string
	// AcceptClock has the meaning of that in [issuer.Options].
	AcceptClock bool
	// Now is the clock of the issuer. Nil means that of the system.
	Now func() time.Time
	// Build names the program.
	Build issuer.Build
	// Log returns the log that the settings describe.
	Log func(config.Log) *slog.Logger
}

// A Dev is a running development issuer.
type Dev struct {
	Issuer     string // its URL
	Provider   string // URL of the OpenID provider
	Admin      string // path of the admin socket
	Operators  string // URL for operators over the network; empty if there is none
	Metrics    string // listening address for monitoring; empty if there is none
	EnvFile    string // shell file with ISSUER, and the ids and secrets of peer and bot; mode 0600
	PeerSecret string
	BotSecret  string

	stop  context.CancelFunc
	ended sync.WaitGroup
	mu    sync.Mutex
	err   error
}

// Start serves until ctx ends or Close is called.
func Start(ctx context.Context, o Options) (*Dev, error) {
	// The settings contain the ports, but may also choose them: read them once before the ports are known.
	d := &Dev{Issuer: "http://" + defaultListen, Provider: "http://" + defaultProviderListen, PeerSecret: "-", BotSecret: "-"}
	cfg, err := d.settings(o)
	if err != nil {
		return nil, err
	}
	if o.Data == "" {
		o.Data = cfg.Data
		if folder, err := filepath.Abs(defaultData); err == nil && folder == cfg.Data {
			o.Data = defaultData // a short name for the output
		}
	}
	d.EnvFile = filepath.Join(o.Data, "dev.env")
	idpListener, err := listen(cmp.Or(o.ProviderListen, defaultProviderListen), "--dev-idp-listen")
	if err != nil {
		return nil, err
	}
	listener, err := listen(cmp.Or(o.Listen, cfg.Listen), "--listen")
	if err != nil {
		return nil, errors.Join(err, idpListener.Close())
	}
	d.Issuer, d.Provider = "http://"+listener.Addr().String(), "http://"+idpListener.Addr().String()
	if err := d.start(ctx, o, listener, idpListener); err != nil {
		return nil, errors.Join(err, listener.Close(), idpListener.Close())
	}
	return d, nil
}

func (d *Dev) start(ctx context.Context, o Options, listener, idpListener net.Listener) error {
	err := os.MkdirAll(o.Data, 0o700)
	if err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	if d.PeerSecret, err = secretOf(d.EnvFile, "PEER_SECRET"); err != nil {
		return err
	}
	if d.BotSecret, err = secretOf(d.EnvFile, "BOT_SECRET"); err != nil {
		return err
	}
	cfg, err := d.settings(o)
	if err != nil {
		return err
	}
	d.Issuer = cfg.Issuer
	idp, err := devidp.New(devidp.Config{
		Issuer: d.Provider,
		Clients: []devidp.Client{
			{ID: "issuer", RedirectURIs: []string{d.Issuer + "/login/callback/" + provider}},
			{ID: AppID, RedirectURIs: []string{appRedirect}}, // for an app that exchanges an ID token
		},
	})
	if err != nil {
		return err
	}
	log := o.Log(cfg.Log)
	instance, err := issuer.Open(ctx, cfg, issuer.Options{Log: log, Now: o.Now, AcceptClock: o.AcceptClock, Build: o.Build})
	if err != nil {
		return err
	}
	l, err := d.listen(cfg, listener)
	if err != nil {
		return errors.Join(err, instance.Close())
	}
	// Now this process is the only issuer on the folder, so the file describes the issuer that serves.
	if err := d.writeEnv(); err != nil {
		return errors.Join(err, l.Close(), instance.Close())
	}
	ctx, d.stop = context.WithCancel(ctx)
	idpServer := server.HTTP(idp, log)
	d.ended.Go(func() {
		if err := idpServer.Serve(idpListener); !errors.Is(err, http.ErrServerClosed) {
			d.failed(err)
		}
	})
	d.ended.Go(func() {
		d.failed(instance.Serve(ctx, l))
		d.stop()
		end, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		d.failed(idpServer.Shutdown(end))
	})
	return nil
}

// listen opens the other listeners of the settings.
func (d *Dev) listen(cfg *config.Config, public net.Listener) (issuer.Listeners, error) {
	for _, address := range []string{cfg.AdminListen, cfg.MetricsListen} {
		if address != "" {
			if err := loopback(address); err != nil {
				return issuer.Listeners{}, err
			}
		}
	}
	l, err := issuer.Listen(cfg, issuer.Listeners{Public: public})
	if err != nil {
		return l, err
	}
	d.Admin, d.Operators = cfg.AdminSocket(), cfg.AdminURL
	if l.Monitor != nil {
		d.Metrics = l.Monitor.Addr().String()
	}
	return l, nil
}

// Wait waits for the end of the issuer and returns its error.
func (d *Dev) Wait() error {
	d.ended.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// Close stops the issuer and waits for its end.
func (d *Dev) Close() error {
	d.stop()
	return d.Wait()
}

func (d *Dev) failed(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = errors.Join(d.err, err)
	if err != nil {
		d.stop()
	}
}

// settings writes a settings file and reads it as the issuer does.
func (d *Dev) settings(o Options) (*config.Config, error) {
	peer, bot := sha256.Sum256([]byte(d.PeerSecret)), sha256.Sum256([]byte(d.BotSecret))
	folder, err := filepath.Abs(cmp.Or(o.Data, defaultData))
	if err != nil {
		return nil, err
	}
	env := o.Env
	if o.Data != "" { // the flag overrides the variable
		env = slices.DeleteFunc(slices.Clone(env), func(entry string) bool { return strings.HasPrefix(entry, "ISSUER_DATA=") })
		env = append(env, "ISSUER_DATA="+folder)
	}
	text := fmt.Sprintf(`
issuer: %s
data: %q
development: true
outbound:
  allow_networks: [127.0.0.0/8, "::1/128"]
domains:
  - name: %s
    providers:
      - {id: %s, issuer: %q, client_id: issuer, authoritative_handles: true}
clients:
  - id: %s
    name: IM App
    auth: none
    redirect_uris: ["http://127.0.0.1/callback", "http://[::1]/callback"]
    grants: [authorization_code, refresh_token, "urn:ietf:params:oauth:grant-type:device_code",
      "urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:grant-type:embedded-tokens"]
    scopes: ["im:handle", "im:device", account, "im:credential"]
    domains: [%s]
    embed: [separate, attested_by, member_of, guardian_of, same_as, renamed_from, moved_from]
  - id: %s
    auth: secret
    secret_sha256: %s
    grants: [client_credentials]
    scopes: [introspect, "introspect:domain", "introspect:reason"]
    domains: [%s]
  - id: %s
    auth: secret
    secret_sha256: %s
    grants: [client_credentials, "urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:grant-type:embedded-tokens"]
    scopes: ["im:handle"]
    domains: [%s]
    embed: [acts_for]
`, d.Issuer, folder, Domain, provider, d.Provider, AppID, Domain, PeerID, hex.EncodeToString(peer[:]), Domain,
		BotID, hex.EncodeToString(bot[:]), Domain)
	return config.ParseOver([]byte(text), cmp.Or(o.Name, "development settings"), o.Overlay, env)
}

// secretOf returns a secret from the environment file of an earlier start, or a new one if there is no such file.
func secretOf(file, name string) (string, error) {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		var raw [32]byte
		rand.Read(raw[:]) // never fails
		return base64.RawURLEncoding.EncodeToString(raw[:]), nil
	} else if err != nil {
		return "", err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimPrefix(lines.Text(), "export ")
		if secret, ok := strings.CutPrefix(line, name+"="); ok && len(secret) == 43 {
			return secret, nil
		}
	}
	return "", fmt.Errorf("%s has no %s: remove the file, and the next start makes a new one", file, name)
}

func (d *Dev) writeEnv() error {
	text := fmt.Sprintf("export ISSUER=%s\nexport PEER_ID=%s\nexport PEER_SECRET=%s\nexport BOT_ID=%s\nexport BOT_SECRET=%s\n",
		d.Issuer, PeerID, d.PeerSecret, BotID, d.BotSecret)
	temp := d.EnvFile + ".part"
	if err := os.WriteFile(temp, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, d.EnvFile)
}

// An AddressError tells that an address cannot be listened on, and which flag of issuer serve chooses another one.
type AddressError struct {
	Err  error
	Flag string
}

func (e *AddressError) Error() string { return e.Err.Error() }
func (e *AddressError) Unwrap() error { return e.Err }

// listen listens on a loopback address: the development issuer serves this machine only. The flag chooses another address.
func listen(address, flag string) (net.Listener, error) {
	if err := loopback(address); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, &AddressError{err, flag}
	}
	return l, nil
}

// loopback returns an error if an address is not one of this machine alone.
func loopback(address string) error {
	tcp, err := net.ResolveTCPAddr("tcp", address)
	if err == nil && !tcp.IP.IsLoopback() {
		err = fmt.Errorf("%s is not a loopback address: the development issuer serves only this machine", address)
	}
	return err
}
