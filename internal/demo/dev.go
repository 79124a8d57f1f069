// Package demo runs the issuer for development: an OpenID provider with people alice and bob, the issuer in front of
// it, and two clients. [Start] keeps it running; [Run] tells the whole story with it, step by step, and checks each.
package demo

import (
	"bufio"
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
	"strings"
	"sync"
	"time"

	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/devidp"
	"github.com/imidentity/issuer/internal/server"
)

// Names of the development set-up.
const (
	Domain   = "example.com"
	AppID    = "im-app" // public, logs people in, any loopback port
	PeerID   = "peer"   // confidential, introspects tokens of the domain, has service tokens
	BotID    = "bot"    // confidential, acts for people who let it
	provider = "dev"
)

// Options says where [Start] serves. Ports may be 0.
type Options struct {
	// Data is the folder for the database and dev.env. It is made if it is missing.
	Data string
	// Listen and ProviderListen are host:port on a loopback address. Empty means 127.0.0.1 and port 8080 and 8081.
	Listen         string
	ProviderListen string
	// AcceptClock is that of [server.Options].
	AcceptClock bool
	Log         *slog.Logger
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
	idpListener, err := listen(o.ProviderListen, "127.0.0.1:8081")
	if err != nil {
		return nil, err
	}
	listener, err := listen(o.Listen, "127.0.0.1:8080")
	if err != nil {
		return nil, errors.Join(err, idpListener.Close())
	}
	d := &Dev{
		Issuer:   "http://" + listener.Addr().String(),
		Provider: "http://" + idpListener.Addr().String(),
		EnvFile:  filepath.Join(o.Data, "dev.env"),
	}
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
	idp, err := devidp.New(devidp.Config{
		Issuer: d.Provider,
		Clients: []devidp.Client{{
			ID: "issuer", RedirectURIs: []string{d.Issuer + "/login/callback/" + provider},
		}},
	})
	if err != nil {
		return err
	}
	cfg, err := d.settings(o.Data)
	if err != nil {
		return err
	}
	instance, err := server.Open(ctx, cfg, server.Options{Log: o.Log, AcceptClock: o.AcceptClock})
	if err != nil {
		return err
	}
	d.Admin = cfg.AdminSocket()
	admin, err := server.ListenAdmin(d.Admin)
	if err != nil {
		return errors.Join(err, instance.Close())
	}
	// Not before this process is the only issuer on the folder: the file is about the one that serves.
	if err := d.writeEnv(); err != nil {
		return errors.Join(err, admin.Close(), instance.Close())
	}
	ctx, d.stop = context.WithCancel(ctx)
	idpServer := server.HTTP(idp, o.Log)
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
func (d *Dev) settings(data string) (*config.Config, error) {
	peer, bot := sha256.Sum256([]byte(d.PeerSecret)), sha256.Sum256([]byte(d.BotSecret))
	folder, err := filepath.Abs(data)
	if err != nil {
		return nil, err
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
	return config.Parse("development settings", []byte(text), nil)
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
		if secret, ok := strings.CutPrefix(lines.Text(), name+"="); ok && len(secret) == 43 {
			return secret, nil
		}
	}
	return "", fmt.Errorf("%s holds no %s: remove the file, and a new one is made", file, name)
}

func (d *Dev) writeEnv() error {
	text := fmt.Sprintf("ISSUER=%s\nPEER_ID=%s\nPEER_SECRET=%s\nBOT_ID=%s\nBOT_SECRET=%s\n",
		d.Issuer, PeerID, d.PeerSecret, BotID, d.BotSecret)
	temp := d.EnvFile + ".part"
	if err := os.WriteFile(temp, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, d.EnvFile)
}

// listen opens a loopback address; the development set-up is for nobody else.
func listen(address, otherwise string) (net.Listener, error) {
	if address == "" {
		address = otherwise
	}
	tcp, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, err
	}
	if !tcp.IP.IsLoopback() {
		return nil, fmt.Errorf("%s is not a loopback address: the development issuer serves this machine alone", address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%w: is another one running? Choose another address, or port 0 for any", err)
	}
	return l, nil
}
