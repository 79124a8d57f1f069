package issuer

import (
	"context"

	"github.com/imidentity/issuer/internal/statuses"
)

// openStatuses makes the status lists, and reserves the first entries of each domain that has them for sessions, so that no login waits
// for it. Those for credentials are reserved with the first credential.
func (i *Instance) openStatuses(ctx context.Context) error {
	var domains, all []string
	for _, d := range i.cfg.Domains {
		all = append(all, d.Name)
		if d.StatusList {
			domains = append(domains, d.Name)
		}
	}
	var err error
	i.statuses, err = statuses.New(statuses.Config{
		Issuer: i.cfg.Issuer, Domains: domains, SessionLife: i.cfg.Lifetimes.RefreshMax, Credentials: all,
		Store: i.store, Keys: i.ring, Revocations: i.mirror, Now: i.now,
	})
	if err != nil {
		return err
	}
	for _, domain := range domains {
		if err := i.statuses.Fill(ctx, domain); err != nil {
			return err
		}
	}
	return nil
}
