// Package claims defines the identifiers of instant messaging and the claim set of access tokens that bind them to a
// key: draft-mahy-mimi-identity (the im: forms of -00, the mimi: forms of -05), JWT access tokens (RFC 9068) and key
// confirmation (RFC 7800, RFC 9449 §6.1).
//
// An [ID] is a handle, a user, a device or a room in one of eight systems, always in canonical form. [Parse] accepts only the
// canonical URI, and is for signed and received text. [ParseLenient] maps what people type to the canonical form, and
// [ParseRegistration] also refuses names that should not be given to users. [Parser] has the settings and the native forms
// (juliet@example.com/balcony, sip:juliet@example.com, #channel). A [Namespace] makes the identifiers of a domain.
//
// Identifiers of one person in two systems are never [ID.Equal]: call [SameAccount] and [SameClient]. A handle in a mimi: URI
// looks like a user. An identifier without a domain is valid only inside the domain that issued it.
//
// Fill a [Set] and marshal it, read one with [ParseSet], check it with [Set.Validate]. Times are whole seconds in UTC;
// the zero time means that the claim is absent. The package knows nothing of signatures, storage or HTTP.
package claims
