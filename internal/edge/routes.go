package edge

import (
	"fmt"
	"time"

	"github.com/imidentity/issuer/gateway"
	"github.com/imidentity/issuer/gateway/forwardauth"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/nested"
)

// newRoutes returns the routes of the settings, with their policies.
func newRoutes(cfg *config.Gateway) ([]forwardauth.Route, error) {
	var routes []forwardauth.Route
	for n, r := range cfg.Routes {
		policy, err := gateway.NewPolicy(gateway.PolicyConfig{
			Audience: r.Audience, Domains: r.Domains, RefusedDomains: r.RefusedDomains, Scopes: r.Scopes, ACR: r.ACR, Bots: r.Bots,
			Relations: relations(r.Relations), RequiredRelations: relations(r.RequiredRelations), MaxDepth: r.Depth,
			MaxTokenAge: time.Duration(r.MaxTokenAge), MaxLoginAge: time.Duration(r.MaxLoginAge), AllowBearer: r.Proof == "optional",
			Mode: gateway.Mode(r.Mode), Freshness: r.Freshness, Outage: gateway.Outage(r.Outage), MaxOutage: r.MaxOutage, Shadow: r.Shadow,
		})
		if err != nil {
			return nil, config.Errors{cfg.Fault(fmt.Sprintf("routes[%d]", n), "%v", err)}
		}
		routes = append(routes, forwardauth.Route{
			Path: r.Path, Methods: r.Methods, Origins: r.Origins, Upstream: r.Upstream, Policy: policy,
		})
	}
	return routes, nil
}

func relations(names []string) []nested.Relation {
	var list []nested.Relation
	for _, name := range names {
		list = append(list, nested.Relation(name))
	}
	return list
}
