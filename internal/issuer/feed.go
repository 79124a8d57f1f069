package issuer

import (
	"fmt"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/revocation"
)

// newFeed makes the feed of revocations.
func newFeed(cfg *config.Config, mirror *revocation.Mirror, cluster *keys.Cluster, now func() time.Time) (*revocation.Feed, error) {
	list, err := accountDomains(cfg)
	if err != nil {
		return nil, err
	}
	domains := make(map[string]account.Domain, len(list))
	for _, d := range list {
		domains[d.Names.Domain()] = d
	}
	return revocation.NewFeed(revocation.FeedConfig{
		Mirror: mirror, Issuer: cfg.Issuer,
		HashKey: cluster.Lasting(labelHashes), CursorKeys: cluster.Derive(labelCursors, revocation.CursorLife).Fresh,
		Identify: func(domain, user, device string) (string, string, error) {
			d, ok := domains[domain]
			if !ok {
				return "", "", fmt.Errorf("there is no domain %s", domain)
			}
			return identify(d, user, device)
		},
		Now: now,
	})
}

// identify returns the URIs of a user and a device of a domain.
func identify(d account.Domain, user, device string) (userURI, deviceURI string, err error) {
	id, err := d.Names.User(user)
	if err != nil {
		return "", "", fmt.Errorf("user id: %w", err)
	}
	if userURI = d.URI(id); device == "" {
		return userURI, "", nil
	}
	if id, err = d.Names.Device(user, device); err != nil {
		return "", "", fmt.Errorf("device id: %w", err)
	}
	return userURI, d.URI(id), nil
}
