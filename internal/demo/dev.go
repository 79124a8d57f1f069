// Package demo runs the issuer for development: an OpenID provider with people alice and bob, the issuer in front of
// it, and two clients. [Start] keeps it running; [Run] tells the whole story with it, step by step, and checks each.
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
	AppID    = "im-app" // public, logs people in, any loopback port
	PeerID   = "peer"   // confidential, introspects tokens of the domain, has service tokens
	BotID    = "bot"    // confidential, acts for people who let it
	provider = "dev"

	defaultData           = "./data"
	defaultListen         = "127.0.0.1:8080"
	defaultProviderListen = "127.0.0.1:8081"
)

// Options says where [Start] serves. Ports may be 0.
type Options struct {
	// Data is the folder for the database and dev.env. It is made if it is missing. Empty means what the settings say,
	// ./data unless they say otherwise.
	Data string
	// Listen and ProviderListen are host:port on a loopback address. Empty means what the settings say, 127.0.0.1:8080 unless
	// they say otherwise, and 127.0.0.1:8081.
	Listen         string
	ProviderListen string
	// Overlay is a settings document that lies over the development settings, Name what it is called, Env the variables that
	// lie over both ([config.ParseOver]).
	Overlay []byte
	Name    string
	Env     []string
	// AcceptClock is that of [issuer.Options].
	AcceptClock bool
	// Log makes the log that the settings ask for.
	Log func(config.Log) *slog.Logger
}

// A Dev is a running development issuer.
type Dev struct {
	Issuer     string // its URL
	Provider   string // URL of the OpenID provider
	Admin      string // path of the admin socket
	EnvFile    string // shell file with ISSUER, and id and secret of peer and bot, for its owner alone
	PeerSecret string
	BotSecret  string

	stop  context.CancelFunc
	ended sync.WaitGroup
	mu    sync.Mutex
	err   error
}

// Start serves until ctx ends or Close is called.
func Start(ctx context.Context, o Options) (*Dev, error) {
	// The settings may say where to listen, and need the ports: they are read once without.
	d := &Dev{Issuer: "http://" + defaultListen, Provider: "http://" + defaultProviderListen, PeerSecret: "-", BotSecret: "-"}
	cfg, err := d.settings(o)
	if err != nil {
		return nil, err
	}
	if o.Data == "" {
		o.Data = cfg.Data
		if folder, err := filepath.Abs(defaultData); err == nil && folder == cfg.Data {
			o.Data = defaultData // short, in what is printed
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
		Clients: []devidp.Client{{
			ID: "issuer", RedirectURIs: []string{d.Issuer + "/login/callback/" + provider},
		}},
	})
	if err != nil {
		return err
	}
	log := o.Log(cfg.Log)
	instance, err := issuer.Open(ctx, cfg, issuer.Options{Log: log, AcceptClock: o.AcceptClock})
	if err != nil {
		return err
	}
	d.Admin = cfg.AdminSocket()
	admin, err := issuer.ListenAdmin(d.Admin)
	if err != nil {
		return errors.Join(err, instance.Close())
	}
	// Not before this process is the only issuer on the folder: the file is about the one that serves.
	if err := d.writeEnv(); err != nil {
		return errors.Join(err, admin.Close(), instance.Close())
	}
	ctx, d.stop = context.WithCancel(ctx)
	idpServer := server.HTTP(idp, log)
	d.ended.Go(func() {
		if err := idpServer.Serve(idpListener); !errors.Is(err, http.ErrServerClosed) {
			d.failed(err)
		}
	})
	d.ended.Go(func() {
		d.failed(instance.Serve(ctx, listener, admin))
		d.stop()
		end, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		d.failed(idpServer.Shutdown(end))
	})
	return nil
}

// Wait returns when the issuer has stopped, with what went wrong.
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

// settings writes the settings as an operator would and reads them as the issuer does.
func (d *Dev) settings(o Options) (*config.Config, error) {
	peer, bot := sha256.Sum256([]byte(d.PeerSecret)), sha256.Sum256([]byte(d.BotSecret))
	folder, err := filepath.Abs(cmp.Or(o.Data, defaultData))
	if err != nil {
		return nil, err
	}
	env := o.Env
	if o.Data != "" { // the flag has the last word
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
    grants: [authorization_code, refresh_token, "urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:grant-type:embedded-tokens"]
    scopes: ["im:handle", "im:device", account]
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

// secretOf is a secret in the environment file of an earlier start, or a new one if there is no such file.
func secretOf(file, name string) (string, error) {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		var raw [32]byte
		rand.Read(raw[:]) // never fails
		return base64.RawURLEncoding.EncodeToString(raw[:]), nil
	} else if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // it was only read
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

// An AddressError says that an address cannot be listened at, and which flag of issuer serve chooses another.
type AddressError struct {
	Err  error
	Flag string
}

func (e *AddressError) Error() string { return e.Err.Error() }
func (e *AddressError) Unwrap() error { return e.Err }

// listen opens a loopback address; the development set-up is for nobody else. Flag names another address.
func listen(address, flag string) (net.Listener, error) {
	tcp, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, err
	}
	if !tcp.IP.IsLoopback() {
		return nil, fmt.Errorf("%s is not a loopback address: the development issuer serves only this machine", address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, &AddressError{err, flag}
	}
	return l, nil
}
