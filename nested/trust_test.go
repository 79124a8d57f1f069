package nested_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/trust"
)

// peerTable is the trust table of the world. The keys of one issuer have to be fetched, by a client that reaches no host.
func peerTable(t *testing.T, unreachable, suspended string) *trust.Table {
	t.Helper()
	cfg := trust.Config{Client: &http.Client{Transport: noNetwork{}}, Development: true}
	for issuer, is := range peers.trusted(t) {
		set, err := json.Marshal(map[string]any{"keys": is.Keys})
		if err != nil {
			t.Fatal(err)
		}
		p := trust.Peer{Domain: is.Domains[0], Issuer: issuer, JWKS: set, Suspended: issuer == suspended}
		if issuer == unreachable {
			p.JWKS = nil
		}
		cfg.Peers = append(cfg.Peers, p)
	}
	table, err := trust.NewTable(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

type noNetwork struct{}

func (noNetwork) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no network")
}

// A trust table is a source of keys, and its answers keep their meaning.
func TestTrustTable(t *testing.T) {
	token := botToken(inside(value(nested.ActsFor, grant())))
	open := func(unreachable, suspended string) error {
		o := options()
		o.Keys = peerTable(t, unreachable, suspended)
		_, err := nested.Open(t.Context(), token, o)
		return err
	}
	if err := open("", ""); err != nil {
		t.Errorf("Open = %v", err)
	}
	wantUnknown(t, open(home, ""), trust.ErrUnavailable)
	wantRefused(t, "suspended", open("", home), "tokens[0]", nested.CodeIssuer)
	wantRefused(t, "suspended", open("", bridge), "", nested.CodeIssuer)
}
