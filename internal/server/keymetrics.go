package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/imidentity/issuer/keys"
)

// keyAges tells Prometheus of the keys that are published. Those that were revoked, or have left the key set, are not
// there: of them nothing grows any more.
type keyAges struct {
	ring *keys.Ring
	now  func() time.Time
}

var keyAge = prometheus.NewDesc("issuer_signing_key_age_seconds",
	"Time since a signing key was made, by its state (published, signing, retired), algorithm and kid.",
	[]string{"state", "alg", "kid"}, nil)

// Describe sends the one description.
func (k keyAges) Describe(to chan<- *prometheus.Desc) { to <- keyAge }

// Collect sends the age of each key.
func (k keyAges) Collect(to chan<- prometheus.Metric) {
	now := k.now()
	for _, info := range k.ring.List() {
		if _, _, published := k.ring.Public(info.KID); published {
			to <- prometheus.MustNewConstMetric(keyAge, prometheus.GaugeValue, now.Sub(info.CreatedAt).Seconds(),
				string(info.State), info.Alg, info.KID)
		}
	}
}
