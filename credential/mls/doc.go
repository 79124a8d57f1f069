// Package mls reads and writes credentials of devices as MLS groups carry them: the structure Credential (RFC 9420 §5.3), with the types
// sd_jwt and sd_cwt (draft-mahy-mls-sd-cwt-credential-02) and x509. A basic credential is a bare name and is refused.
//
// The package does not implement MLS.
package mls
