// Package stepca runs smallstep's step-ca, unmodified and over TLS, with a provisioner of Wire whose challenge wire-dpop-01 takes the tokens
// of the issuer. It has tests alone, in a module of its own: step-ca needs more modules than all the rest.
package stepca
