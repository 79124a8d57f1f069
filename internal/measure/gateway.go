package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/jose"
)

// A gateway is a running process that answers the questions of an nginx: "issuer gateway", or this program in its place. The tokens are
// signed by this program, as the one issuer that the gateway trusts.
type gateway struct {
	args  []string // of the process; the settings file comes last
	dir   string   // settings, keys, log
	addr  string
	place placement
	key   *ecdsa.PrivateKey // of the issuer
	conns pool

	cmd *exec.Cmd
	log *os.File
}

// Names in the settings.
const (
	tokenIssuer = "https://id.example.com"
	chatOrigin  = "https://chat.example.com"
	chatPath    = "/rooms/1"
)

// newGateway writes the settings of a gateway.
func newGateway(dir string, place placement, args ...string) (*gateway, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	jwk, err := jose.MarshalJWK(key.Public())
	if err != nil {
		return nil, err
	}
	g := &gateway{args: args, dir: dir, addr: addr, place: place, key: key, conns: pool{addr: addr}}
	settings := fmt.Sprintf(`
listen: %s
data: %q
public_origins: [%q]
proxy: nginx
trusted_proxies: [127.0.0.1/32]
audience: ["im:%s"]
development: true
limits: {replay_proofs: 10000000}
peers: [{domain: %s, issuer: %q, jwks_file: jwks.json}]
routes: [{path: /, upstream: chat}]
`, addr, filepath.Join(dir, "data"), chatOrigin, domainName, domainName, tokenIssuer)
	set := fmt.Sprintf(`{"keys":[%s,"kid":"k","alg":"ES256"}]}`, strings.TrimSuffix(string(jwk), "}"))
	return g, errors.Join(os.WriteFile(g.settings(), []byte(settings), 0o600),
		os.WriteFile(filepath.Join(dir, "jwks.json"), []byte(set), 0o600))
}

func (g *gateway) settings() string { return filepath.Join(g.dir, "gateway.yaml") }

// start starts the process, and waits until it answers.
func (g *gateway) start(ctx context.Context) error {
	var err error
	if g.log, err = os.OpenFile(filepath.Join(g.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return err
	}
	g.cmd = exec.CommandContext(ctx, g.args[0], append(g.args[1:len(g.args):len(g.args)], g.settings())...)
	g.cmd.Stderr = g.log
	g.cmd.Cancel = func() error { return g.cmd.Process.Signal(os.Interrupt) }
	g.cmd.WaitDelay = 10 * time.Second
	if err := g.place.start(g.cmd); err != nil {
		return errors.Join(fmt.Errorf("start the gateway: %w", err), g.log.Close())
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); time.Since(begin) < readyLimit; {
		if _, err = g.nonce(ctx); err == nil {
			return nil
		}
		if !running(g.cmd.Process.Pid) {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return errors.Join(fmt.Errorf("the gateway does not answer: %w", err), g.stop(), g.lastWords())
}

func (g *gateway) stop() error {
	g.conns.close()
	defer g.log.Close()
	if err := g.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if err := g.cmd.Wait(); err != nil {
		return fmt.Errorf("stop the gateway: %w", err)
	}
	return nil
}

// lastWords returns the end of the log as an error.
func (g *gateway) lastWords() error {
	log, err := os.ReadFile(filepath.Join(g.dir, "log"))
	if err != nil || len(log) == 0 {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return fmt.Errorf("the log of the gateway ends with:\n%s", strings.Join(lines[max(0, len(lines)-5):], "\n"))
}

// nonce asks for a nonce for proofs.
func (g *gateway) nonce(ctx context.Context) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.addr+"/verify", nil)
	if err != nil {
		return "", err
	}
	for name, value := range question {
		request.Header.Set(name, value)
	}
	return nonceFrom(request)
}

// question is what an nginx says about the request of a client.
var question = map[string]string{
	"X-Original-Method": "GET", "X-Original-URI": chatPath, "X-Forwarded-Proto": "https",
	"X-Forwarded-Host": strings.TrimPrefix(chatOrigin, "https://"),
}

// token signs an access token for the device of a user.
func (g *gateway) token(user int, jkt string) (string, error) {
	name, now := fmt.Sprintf("u%d", user), time.Now()
	set := claims.Set{
		Issuer: tokenIssuer, Subject: "im:" + name + "@" + domainName + ";id-type=user", Handle: "im:%40" + name + "@" + domainName,
		Device: "im:" + name + "/d1@" + domainName, Audience: []string{"im:" + domainName}, ClientID: appID, Scope: "im:handle im:device",
		JTI: rand.Text(), IssuedAt: now, Expires: now.Add(time.Hour), SID: rand.Text(), JKT: jkt, Gen: 1,
	}
	return jose.Sign(g.key, jose.ES256, []byte(`{"typ":"at+jwt","alg":"ES256","kid":"k"}`), set.AppendJSON(nil))
}

// A member is a device of a user, with a token.
type member struct {
	signer *dpop.Signer
	token  string
}

// members makes so many devices.
func (g *gateway) members(n int) ([]member, error) {
	list := make([]member, n)
	for i := range list {
		signer, err := newSigner()
		if err != nil {
			return nil, err
		}
		token, err := g.token(i, signer.JKT())
		if err != nil {
			return nil, err
		}
		list[i] = member{signer, token}
	}
	return list, nil
}

// ask writes the question about a request of m, with a new proof.
func (g *gateway) ask(m *member, nonce string) ([]byte, error) {
	proof, err := m.signer.Proof(dpop.ProofParams{Method: "GET", URL: chatOrigin + chatPath, Nonce: nonce, AccessToken: m.token})
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET /verify HTTP/1.1\r\nHost: %s\r\n", g.addr)
	for name, value := range question {
		fmt.Fprintf(&b, "%s: %s\r\n", name, value)
	}
	fmt.Fprintf(&b, "Authorization: DPoP %s\r\nDPoP: %s\r\n\r\n", m.token, proof)
	return b.Bytes(), nil
}

// questions are windows of questions about requests of members in turn. If the tokens are to be new, each request has one of its own.
func (g *gateway) questions(members []member, sample *exchange, unseen bool) *series {
	turn := 0
	return &series{pid: g.cmd.Process.Pid, least: 10 * callers, prepare: func(ctx context.Context, n int) (action, error) {
		nonce, err := g.nonce(ctx)
		if err != nil {
			return nil, err
		}
		requests := make([][]byte, n)
		for i := range requests {
			m := &members[turn%len(members)]
			if turn++; unseen {
				if m.token, err = g.token(turn, m.signer.JKT()); err != nil {
					return nil, err
				}
			}
			if requests[i], err = g.ask(m, nonce); err != nil {
				return nil, err
			}
		}
		conns, err := g.conns.take(ctx, callers)
		if err != nil {
			return nil, err
		}
		return func(context.Context) ([]float64, error) {
			return nil, share(conns, n, func(c *conn, i int) error {
				body, err := c.do(requests[i])
				if i == 0 && err == nil {
					*sample = exchange{requests[i], c.head + len(body)}
				}
				return err
			})
		}, nil
	}}
}

// manyDevices are so many that none of their keys is seen often and gets a table, with windows of 300 ms.
const manyDevices = 4000

// gatewayWorks are the questions that are measured. A gateway signs an identity for the service, which is not part of the goals.
func gatewayWorks(g *gateway, o options) ([]*work, error) {
	var works []*work
	many := max(callers, int(manyDevices*o.window/usualWindow))
	for _, kind := range []struct {
		name    string
		devices int
		unseen  bool
		above   int
		goal    float64
	}{
		{"gateway, token seen", many, false, 1, 1.35},
		{"gateway, token seen, key seen often", 1, false, 1, 0.9},
		{"gateway, first sight", many, true, 2, 2.8},
	} {
		if !o.only.MatchString(kind.name) {
			continue
		}
		members, err := g.members(kind.devices)
		if err != nil {
			return nil, err
		}
		w := &work{name: kind.name, sign: 1, above: kind.above, exchanges: true, callers: callers, goal: kind.goal}
		s := g.questions(members, &w.sample, kind.unseen)
		if !kind.unseen {
			s.least = max(s.least, len(members)) // the first window shows every token once
		}
		w.cost = []*series{s}
		works = append(works, w)
	}
	return works, nil
}

// measureGateway measures what a gateway takes for a question, and whether its memory grows.
func measureGateway(ctx context.Context, o options, c conditions, place placement, dir string, stdout, stderr io.Writer) (err error) {
	c.Rounds, c.Window = o.rounds, o.window.String()
	floor, err := startFloor(ctx, place, stderr)
	if err != nil {
		return err
	}
	defer floor.close()
	g, err := newGateway(filepath.Join(dir, "gateway"), place, o.binary, "gateway", "--config")
	if err != nil {
		return err
	}
	fmt.Fprintln(stderr, "Starting the gateway.")
	if err := g.start(ctx); err != nil {
		return err
	}
	works, err := gatewayWorks(g, o)
	if err != nil {
		return errors.Join(err, g.stop())
	}
	m := &measured{floor: floor}
	m.planFloor()
	for _, w := range works {
		m.add(w)
	}
	err = rotate(ctx, m.all, o.rounds, o.window, func(round int) { fmt.Fprintf(stderr, "\rRound %d of %d.", round, o.rounds) })
	fmt.Fprintln(stderr)
	if err := errors.Join(err, g.stop()); err != nil {
		return errors.Join(err, g.lastWords())
	}
	rows := m.rows()
	if o.only.MatchString(heapWork) {
		heap, err := measureHeap(ctx, o, place, dir, stderr)
		if err != nil {
			return err
		}
		rows = append(rows, heap...)
	}
	return report{conditions: c, Rows: rows}.write(stdout, o.json)
}
