package config

import (
	"reflect"

	"github.com/imidentity/issuer/internal/fetch"
)

// Reload returns the settings of next that a running gateway with the settings g can apply: everything but the addresses, the files of
// the certificate, the data folder, the store of spent proofs, nonces, the log and traces. Waiting lists the others that differ: they need
// a restart. The error, of type [Errors], lists what also prevents that the rest is applied.
func (g *Gateway) Reload(next *Gateway) (merged *Gateway, waiting []string, err error) {
	if next.Development != g.Development {
		return nil, nil, Errors{next.Fault("development", "changes the rules for all others: restart the gateway to apply this file")}
	}
	if (next.Upstream != "") != (g.Upstream != "") {
		return nil, nil, Errors{next.Fault("upstream", "decides what the gateway serves: restart it to apply this file")}
	}
	m := *next
	m.Listen, m.TLS, m.Data, m.Admin, m.MetricsListen = g.Listen, g.TLS, g.Data, g.Admin, g.MetricsListen
	m.Replay, m.RedisURLFile, m.RedisURL, m.SecretFile, m.Secret = g.Replay, g.RedisURLFile, g.RedisURL, g.SecretFile, g.Secret
	m.Log, m.DPoP, m.Tracing = g.Log, g.DPoP, g.Tracing
	return &m, differences(reflect.ValueOf(m), reflect.ValueOf(*next), ""), nil
}

// Fault returns an error about the setting at path, for checks that need more than the settings.
func (g *Gateway) Fault(path, format string, args ...any) Error {
	return (&Config{source: g.source}).Fault(path, format, args...)
}

// FetchPolicy returns the rules for requests to URLs in the settings.
func (g *Gateway) FetchPolicy() (fetch.Policy, error) {
	return (&Config{Outbound: g.Outbound, Development: g.Development}).FetchPolicy()
}
