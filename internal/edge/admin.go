package edge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/imidentity/issuer/trust"
)

// health returns the routes for health and metrics.
func (i *Instance) health() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := i.ready.check(r.Context(), i); err != nil {
			w.Header().Set("Retry-After", "1")
			writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "not ready", "reason": err.Error()})
			return
		}
		writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(i.metrics.registry, promhttp.HandlerOpts{}))
	return mux
}

// operators returns the routes of the admin socket.
func (i *Instance) operators() http.Handler {
	mux := i.health()
	mux.HandleFunc("GET /peers", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, i.Peers()) })
	mux.HandleFunc("POST /peers/{domain}/suspend", func(w http.ResponseWriter, r *http.Request) { i.suspend(w, r, true) })
	mux.HandleFunc("POST /peers/{domain}/resume", func(w http.ResponseWriter, r *http.Request) { i.suspend(w, r, false) })
	mux.HandleFunc("POST /check", func(w http.ResponseWriter, r *http.Request) {
		var c Check
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCheck))
		if err == nil {
			err = json.Unmarshal(body, &c)
		}
		if err != nil {
			writeProblem(w, http.StatusBadRequest, "invalid_request", "the body is not the JSON of a check")
			return
		}
		writeJSON(w, http.StatusOK, i.Check(r.Context(), c))
	})
	return mux
}

// maxCheck is how many bytes a question of `issuer gateway check` may have.
const maxCheck = 256 << 10

// A Peer is the state of a peer, as JSON.
type Peer struct {
	Domain    string `json:"domain"`
	Issuer    string `json:"issuer"` // empty if it is to be discovered, and none is believed now
	Suspended bool   `json:"suspended"`
	// Discovered is true if the domain names the issuer.
	Discovered bool `json:"discovered"`
	// Fixed is true if the keys are in the settings.
	Fixed bool `json:"keys_in_settings"`
	Keys  int  `json:"keys"`
	// Fetched is when the keys were fetched, Failed when that last failed, Problem why.
	Fetched *time.Time `json:"fetched_at,omitempty"`
	Failed  *time.Time `json:"failed_at,omitempty"`
	Problem string     `json:"problem,omitempty"`
}

// Peers returns the state of each peer.
func (i *Instance) Peers() []Peer {
	list := []Peer{}
	for _, s := range i.state.Load().table.Peers() {
		p := Peer{Domain: s.Domain, Issuer: s.Issuer, Suspended: s.Suspended, Discovered: s.Discovered, Fixed: s.Fixed, Keys: s.Keys}
		if !s.Fetched.IsZero() {
			p.Fetched = &s.Fetched
		}
		if !s.Failed.IsZero() {
			p.Failed, p.Problem = &s.Failed, fmt.Sprint(s.Err)
		}
		list = append(list, p)
	}
	return list
}

func (i *Instance) suspend(w http.ResponseWriter, r *http.Request, suspended bool) {
	domain := r.PathValue("domain")
	err := i.Suspend(domain, suspended)
	var unstored *stateError
	switch {
	case err == nil:
		writeJSON(w, http.StatusOK, map[string]any{"domain": domain, "suspended": suspended})
	case errors.As(err, &unstored):
		writeProblem(w, http.StatusInternalServerError, "server_error", err.Error())
	case errors.Is(err, trust.ErrSuspended):
		writeProblem(w, http.StatusConflict, "suspended_in_settings",
			fmt.Sprintf("%s is suspended in the settings: change peers[].suspended there", domain))
	case errors.Is(err, trust.ErrUntrusted):
		writeProblem(w, http.StatusNotFound, "not_found", fmt.Sprintf("%s is not among the peers", domain))
	default:
		writeProblem(w, http.StatusBadRequest, "invalid_request", fmt.Sprintf("%q is not a domain", domain))
	}
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // an error means that the client has disconnected
}

func writeProblem(w http.ResponseWriter, status int, code, description string) {
	writeJSON(w, status, map[string]string{"error": code, "error_description": description})
}

// A readiness keeps the last answer to whether the gateway can decide, so that a probe costs the replay store little.
type readiness struct {
	mu  sync.Mutex
	at  time.Time
	err error
}

const readyAge = time.Second

// check returns why the gateway cannot let anything through now. Issuers that are down are no reason: that concerns their tokens alone.
func (p *readiness) check(ctx context.Context, i *Instance) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.at).Abs() >= readyAge {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second) // others use the answer too
		defer cancel()
		p.err = nil
		if _, err := i.replay.Epoch(ctx); err != nil {
			p.err = errors.New("the store of spent proofs does not answer")
			i.log.WarnContext(ctx, "not ready", "error", err)
		}
		p.at = time.Now()
	}
	return p.err
}
