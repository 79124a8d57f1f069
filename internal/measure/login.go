package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/browser"
	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/internal/devidp"
)

const (
	redirectURI  = "http://127.0.0.1/callback"
	accounts     = 1024 // users at the OpenID provider
	people       = 128  // those of them who have signed in before the measurement
	loginCallers = 4
)

// A provider is the OpenID provider where users sign in. It runs in this process, beside the load.
type provider struct {
	url    string
	server *http.Server
}

// startProvider serves the logins of the issuers at these addresses.
func startProvider(issuers ...string) (*provider, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	cfg := devidp.Config{Issuer: "http://" + listener.Addr().String(), Clients: []devidp.Client{{ID: "issuer"}}}
	for _, addr := range issuers {
		uri := "http://" + addr + "/login/callback/" + providerID
		cfg.Clients[0].RedirectURIs = append(cfg.Clients[0].RedirectURIs, uri)
	}
	for i := range accounts {
		name := personName(i)
		cfg.People = append(cfg.People, devidp.Person{Subject: "subject-" + name, Username: name, Name: name, Email: name + "@example.com"})
	}
	handler, err := devidp.New(cfg)
	if err != nil {
		_ = listener.Close()
		return nil, err
	}
	p := &provider{cfg.Issuer, &http.Server{Handler: handler}}
	go func() { _ = p.server.Serve(listener) }()
	return p, nil
}

func (p *provider) close() { _ = p.server.Close() }

func personName(i int) string { return fmt.Sprintf("user-%d", i) }

// login signs a user in on a new device: metadata, authorization request, the provider's pages, code, tokens.
func (u *subject) login(ctx context.Context, person int) (*session, error) {
	signer, err := newSigner()
	if err != nil {
		return nil, err
	}
	h := &http.Client{Transport: &dpop.Transport{Signer: signer}}
	meta, err := client.Discover(ctx, h, u.url)
	if err != nil {
		return nil, err
	}
	app := &client.Client{Server: meta, ID: appID, HTTP: h}
	// The token is for the issuer itself, so that /me and /credential accept it.
	flow := app.Begin(redirectURI, url.Values{"scope": {"im:handle im:device account im:credential"}, "resource": {u.url}})
	name := personName(person)
	back, err := browser.New(nil).Login(ctx, flow.URL, browser.To(redirectURI), map[string]string{"text": name, "password": name})
	if err != nil {
		return nil, err
	}
	tokens, err := app.Finish(ctx, flow, back)
	if err != nil {
		return nil, err
	}
	return &session{signer, tokens.RefreshToken, tokens.AccessToken}, nil
}

// logins is whole logins of known users on new devices.
func (u *subject) logins() *series {
	var next int // each user in turn
	return &series{pid: u.pid(), least: 10 * loginCallers, prepare: func(_ context.Context, n int) (action, error) {
		first := next
		next += n
		return func(ctx context.Context) ([]float64, error) {
			latencies := make([][]float64, loginCallers)
			err := together(loginCallers, func(caller int) error {
				for i := caller; i < n; i += loginCallers {
					begin := time.Now()
					if _, err := u.login(ctx, (first+i)%people); err != nil {
						return err
					}
					latencies[caller] = append(latencies[caller], float64(time.Since(begin).Nanoseconds())/1e3)
				}
				return nil
			})
			return flatten(latencies), err
		}, nil
	}}
}

// commitsOfLogin counts the durable commits of logins that come one after the other, so that none shares a commit.
func (u *subject) commitsOfLogin(ctx context.Context) (row, error) {
	const logins = 10
	before, err := u.commits(ctx)
	if err != nil {
		return row{}, err
	}
	for person := range logins {
		if _, err := u.login(ctx, person); err != nil {
			return row{}, err
		}
	}
	after, err := u.commits(ctx)
	n := float64(after-before) / logins
	return row{Work: "durable commits of a login", Unit: "commits", Cost: spread{n, n, n}, Goal: loginGoal}, err
}

// commits reads the number of commits from the metrics of the issuer.
func (u *subject) commits(ctx context.Context) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://admin/metrics", nil)
	if err != nil {
		return 0, err
	}
	answer, err := client.Socket(u.adminSocket()).HTTP().Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if count, ok := strings.CutPrefix(lines.Text(), "issuer_store_batch_updates_count "); ok {
			return strconv.Atoi(count)
		}
	}
	return 0, errors.New("the metrics of the issuer have no issuer_store_batch_updates_count")
}

func base64Of(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func flatten(lists [][]float64) []float64 { return slices.Concat(lists...) }
