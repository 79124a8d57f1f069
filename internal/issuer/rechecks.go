package issuer

import (
	"github.com/imidentity/issuer/login"
	"github.com/imidentity/issuer/recheck"
)

// newRechecks makes what asks OpenID providers whether logins still stand; nil if no provider has the setting recheck.
func (i *Instance) newRechecks(logins map[string]*login.Provider, key [32]byte) (*recheck.Checker, error) {
	providers, policies := make(map[string]recheck.Provider), make(map[string]recheck.Policy)
	for _, d := range i.cfg.Domains {
		for _, p := range d.Providers {
			for _, r := range recheck.Results {
				i.metrics.rechecks.WithLabelValues(p.ID, string(r))
			}
			if p.Recheck != 0 {
				providers[p.ID] = logins[p.ID]
				policies[p.ID] = recheck.Policy{Every: p.Recheck, Grace: p.RecheckGrace, Required: p.RecheckRequired}
			}
		}
	}
	if len(policies) == 0 {
		return nil, nil
	}
	return recheck.New(recheck.Config{
		Store: i.store, Accounts: i.accounts, Providers: providers, Policies: policies, Key: key, TokenLife: i.cfg.Lifetimes.Access,
		Revoked: i.revoked, Count: i.metrics.rechecked, Now: i.now, Log: i.log,
	})
}
