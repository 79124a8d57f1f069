package issuer

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/imidentity/issuer/keys"
)

// keyAges are the ages of the published keys. Keys that were revoked or have left the key set are not included.
type keyAges struct {
	ring *keys.Ring
	now  func() time.Time
}

var keyAge = prometheus.NewDesc("issuer_signing_key_age_seconds",
	"Time since a signing key was made, by its state (published, signing, retired), algorithm and kid.",
	[]string{"state", "alg", "kid"}, nil)

// Describe implements [prometheus.Collector].
func (k keyAges) Describe(to chan<- *prometheus.Desc) { to <- keyAge }

// Collect implements [prometheus.Collector].
func (k keyAges) Collect(to chan<- prometheus.Metric) {
	now := k.now()
	for _, info := range k.ring.List() {
		if _, _, published := k.ring.Public(info.KID); published {
			to <- prometheus.MustNewConstMetric(keyAge, prometheus.GaugeValue, now.Sub(info.CreatedAt).Seconds(),
				string(info.State), info.Alg, info.KID)
		}
	}
}
