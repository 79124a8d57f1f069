// Package cert makes and checks X.509 certificates of devices and users: the first mechanism of draft-mahy-mimi-identity-00, section "X.509
// Certificates", with the profile of RFC 5280 and the extended key usage of RFC 9734.
//
// The URIs of a device, its user and the user's handle stand in the subjectAltName of a certificate. The draft has three ways to assert
// them, and a [Shape] is a kind of certificate for one of these:
//
//   - combined ([Combined]): one certificate for each device names the device, the user and the handle;
//   - separate ([DeviceOnly], [UserOnly]): one certificate for each device, and one for the user;
//   - cascading ([UserCA], [SignDevice]): the domain makes the user a CA, and the user's key, which may be offline, certifies the devices.
//
// A [CA] issues certificates and certificate revocation lists. [Verify] reads a chain, as a leaf of an MLS group (RFC 9420 §5.3) has it,
// into a [credential.Credential], with the errors of package credential. A chain leads to the roots of one domain and says nothing about
// any other. The caller compares the key of the credential with that of the leaf.
//
// The package knows nothing of storage, files or HTTP servers.
package cert
