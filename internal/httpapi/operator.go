package httpapi

import (
	"context"
	"net/netip"
	"slices"
)

// An Operator is the caller of an endpoint for operators.
type Operator struct {
	// Client is the id of the client that asks over the network. It is empty at the admin socket.
	Client string
	// Domains are the domains of the issuer that the operator may see and change, and All tells that there are no others.
	Domains []string
	All     bool
	// Address is that of the request; the zero Addr at the admin socket.
	Address netip.Addr
}

// May reports whether the operator may see and change what belongs to a domain.
func (o Operator) May(domain string) bool { return o.All || slices.Contains(o.Domains, domain) }

type operatorKey struct{}

// WithOperator returns a context for a request of an operator.
func WithOperator(ctx context.Context, by Operator) context.Context {
	return context.WithValue(ctx, operatorKey{}, by)
}

// OperatorOf returns the operator who asks, and false if the request is that of nobody who was admitted as one.
func OperatorOf(ctx context.Context) (Operator, bool) {
	by, ok := ctx.Value(operatorKey{}).(Operator)
	return by, ok
}

// A Reach says which operators an endpoint serves.
type Reach int

const (
	// WholeIssuer is for operators of all domains: the endpoint is about the issuer, or about several domains.
	WholeIssuer Reach = iota
	// OneDomain is for operators of the domain that the request names: in its path, in the parameter domain, or by leaving it out at
	// an issuer with one domain.
	OneDomain
	// EachEntry is for all operators. The handler shows and changes only what the operator may.
	EachEntry
	// AtSocket is for the admin socket alone, because the endpoint uses the machine of the issuer.
	AtSocket
)
