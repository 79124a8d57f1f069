// Package row maps the records of package storage to rows, in the form that all databases share: for each record its columns, first
// those that identify it; the arguments that write them; the places that they are read into. Times are whole milliseconds since 1970,
// lists are JSON, and requests are forms. The SQL belongs to each database.
package row

import (
	"strings"

	"github.com/imidentity/issuer/storage"
)

// Of returns columns with the alias of their table.
func Of(alias, columns string) string {
	return alias + "." + strings.ReplaceAll(columns, ", ", ", "+alias+".")
}

// SigningKeyColumns are the columns of a signing key.
const SigningKeyColumns = "kid, alg, sealed, public, created_at, active_at, retired_at, revoked_at, revoked_reason, life"

// SigningKeyArgs returns the arguments that write a signing key.
func SigningKeyArgs(k storage.SigningKey) []any {
	return []any{k.KID, k.Alg, k.Sealed, k.Public, Millis(k.CreatedAt), Millis(k.ActiveAt), Millis(k.RetiredAt),
		Millis(k.RevokedAt), k.RevokedReason, k.Life.Milliseconds()}
}

// SigningKeyDest returns the places for the columns of a signing key.
func SigningKeyDest(k *storage.SigningKey) []any {
	return []any{&k.KID, &k.Alg, &k.Sealed, &k.Public, (*Instant)(&k.CreatedAt), (*Instant)(&k.ActiveAt),
		(*Instant)(&k.RetiredAt), (*Instant)(&k.RevokedAt), &k.RevokedReason, (*Span)(&k.Life)}
}

// UserColumns are the columns of a user.
const UserColumns = "domain, id, handle, gen, created_at, disabled_at, findable"

// UserArgs returns the arguments that write a user.
func UserArgs(u storage.User) []any {
	return []any{u.Domain, u.ID, u.Handle, u.Gen, Millis(u.CreatedAt), Millis(u.DisabledAt), u.Findable}
}

// UserDest returns the places for the columns of a user.
func UserDest(u *storage.User) []any {
	return []any{&u.Domain, &u.ID, &u.Handle, &u.Gen, (*Instant)(&u.CreatedAt), (*Instant)(&u.DisabledAt), &u.Findable}
}

// LinkColumns are the columns of a link.
const LinkColumns = "domain, issuer, subject, user_id, created_at"

// LinkArgs returns the arguments that write a link.
func LinkArgs(l storage.Link) []any {
	return []any{l.Domain, l.Issuer, l.Subject, l.User, Millis(l.CreatedAt)}
}

// LinkDest returns the places for the columns of a link.
func LinkDest(l *storage.Link) []any {
	return []any{&l.Domain, &l.Issuer, &l.Subject, &l.User, (*Instant)(&l.CreatedAt)}
}

// NameColumns are the columns of a name.
const NameColumns = "domain, key, local, user_id, taken_at, released_at, tables"

// NameArgs returns the arguments that write a name.
func NameArgs(n storage.Name) []any {
	return []any{n.Domain, n.Key, n.Local, n.User, Millis(n.TakenAt), Millis(n.ReleasedAt), n.Tables}
}

// NameDest returns the places for the columns of a name.
func NameDest(n *storage.Name) []any {
	return []any{&n.Domain, &n.Key, &n.Local, &n.User, (*Instant)(&n.TakenAt), (*Instant)(&n.ReleasedAt), &n.Tables}
}

// DeviceColumns are the columns of a device.
const DeviceColumns = "domain, id, user_id, jkt, name, client, created_at, removed_at, removed_reason, delegation, number, alg, " +
	"platform"

// DeviceArgs returns the arguments that write a device.
func DeviceArgs(d storage.Device) []any {
	return []any{d.Domain, d.ID, d.User, d.JKT, d.Name, d.Client, Millis(d.CreatedAt), Millis(d.RemovedAt),
		d.RemovedReason, d.Delegation, d.Number, d.Alg, d.Platform}
}

// DeviceDest returns the places for the columns of a device.
func DeviceDest(d *storage.Device) []any {
	return []any{&d.Domain, &d.ID, &d.User, &d.JKT, &d.Name, &d.Client, (*Instant)(&d.CreatedAt),
		(*Instant)(&d.RemovedAt), &d.RemovedReason, &d.Delegation, &d.Number, &d.Alg, &d.Platform}
}

// GrantColumns are the columns of a grant.
const GrantColumns = "id, domain, client, user_id, device_id, jkt, scopes, audience, issuer, upstream_sid, auth_time, " +
	"acr, amr, gen, rotated_at, created_at, idle_at, expires_at, ended_at, ended_reason, status, upstream_token"

// GrantArgs returns the arguments that write a grant.
func GrantArgs(g storage.Grant) []any {
	return []any{g.ID, g.Domain, g.Client, g.User, g.Device, g.JKT, Text(g.Scopes), Text(g.Audience), g.Issuer,
		g.UpstreamSID, Millis(g.AuthTime), g.ACR, Text(g.AMR), g.Gen, Millis(g.RotatedAt), Millis(g.CreatedAt),
		Millis(g.IdleAt), Millis(g.ExpiresAt), Millis(g.EndedAt), g.EndedReason, EntryNumber(g.Status),
		g.UpstreamToken}
}

// GrantDest returns the places for the columns of a grant.
func GrantDest(g *storage.Grant) []any {
	return []any{&g.ID, &g.Domain, &g.Client, &g.User, &g.Device, &g.JKT, (*List)(&g.Scopes), (*List)(&g.Audience),
		&g.Issuer, &g.UpstreamSID, (*Instant)(&g.AuthTime), &g.ACR, (*List)(&g.AMR), &g.Gen, (*Instant)(&g.RotatedAt),
		(*Instant)(&g.CreatedAt), (*Instant)(&g.IdleAt), (*Instant)(&g.ExpiresAt), (*Instant)(&g.EndedAt),
		&g.EndedReason, (*Entry)(&g.Status), &g.UpstreamToken}
}

// CodeColumns are the columns of a code.
const CodeColumns = "hash, domain, client, user_id, redirect_uri, redirect_given, challenge, jkt, device_name, scopes, " +
	"audience, issuer, upstream_sid, auth_time, acr, amr, created_at, expires_at, spent_at, grant_id, platform, " +
	"upstream_token"

// CodeArgs returns the arguments that write a code.
func CodeArgs(c storage.Code) []any {
	return []any{c.Hash[:], c.Domain, c.Client, c.User, c.RedirectURI, c.RedirectGiven, c.Challenge, c.JKT, c.DeviceName,
		Text(c.Scopes), Text(c.Audience), c.Issuer, c.UpstreamSID, Millis(c.AuthTime), c.ACR, Text(c.AMR),
		Millis(c.CreatedAt), Millis(c.ExpiresAt), Millis(c.SpentAt), c.Grant, c.Platform, c.UpstreamToken}
}

// CodeDest returns the places for the columns of a code.
func CodeDest(c *storage.Code) []any {
	return []any{(*Digest)(&c.Hash), &c.Domain, &c.Client, &c.User, &c.RedirectURI, &c.RedirectGiven, &c.Challenge,
		&c.JKT, &c.DeviceName, (*List)(&c.Scopes), (*List)(&c.Audience), &c.Issuer, &c.UpstreamSID,
		(*Instant)(&c.AuthTime), &c.ACR, (*List)(&c.AMR), (*Instant)(&c.CreatedAt), (*Instant)(&c.ExpiresAt),
		(*Instant)(&c.SpentAt), &c.Grant, &c.Platform, &c.UpstreamToken}
}

// LoginColumns are the columns of a pending login.
const LoginColumns = "state, browser, domain, provider, nonce, verifier, request, person, created_at, expires_at"

// LoginArgs returns the arguments that write a pending login.
func LoginArgs(l storage.Login) []any {
	return []any{l.State[:], l.Browser[:], l.Domain, l.Provider, l.Nonce, l.Verifier, l.Request.Encode(),
		l.Person, Millis(l.CreatedAt), Millis(l.ExpiresAt)}
}

// LoginDest returns the places for the columns of a pending login.
func LoginDest(l *storage.Login) []any {
	return []any{(*Digest)(&l.State), (*Digest)(&l.Browser), &l.Domain, &l.Provider, &l.Nonce, &l.Verifier,
		(*Form)(&l.Request), &l.Person, (*Instant)(&l.CreatedAt), (*Instant)(&l.ExpiresAt)}
}

// PushedColumns are the columns of a pushed request.
const PushedColumns = "uri, client, request, expires_at"

// PushedArgs returns the arguments that write a pushed request.
func PushedArgs(p storage.Pushed) []any {
	return []any{p.URI[:], p.Client, p.Request.Encode(), Millis(p.ExpiresAt)}
}

// PushedDest returns the places for the columns of a pushed request.
func PushedDest(p *storage.Pushed) []any {
	return []any{(*Digest)(&p.URI), &p.Client, (*Form)(&p.Request), (*Instant)(&p.ExpiresAt)}
}

// StatementColumns are the columns of a statement.
const StatementColumns = "jti, domain, user_id, typ, claims, created_at, expires_at, withdrawn_at, withdrawn_reason, " +
	"device, gen, tells_handle, jkt"

// StatementArgs returns the arguments that write a statement.
func StatementArgs(s storage.Statement) []any {
	return []any{s.JTI, s.Domain, s.User, s.Type, s.Claims, Millis(s.CreatedAt), Millis(s.ExpiresAt),
		Millis(s.WithdrawnAt), s.WithdrawnReason, s.Device, s.Gen, s.TellsHandle, s.JKT}
}

// StatementDest returns the places for the columns of a statement.
func StatementDest(s *storage.Statement) []any {
	return []any{&s.JTI, &s.Domain, &s.User, &s.Type, &s.Claims, (*Instant)(&s.CreatedAt), (*Instant)(&s.ExpiresAt),
		(*Instant)(&s.WithdrawnAt), &s.WithdrawnReason, &s.Device, &s.Gen, &s.TellsHandle, &s.JKT}
}

// RevocationColumns are the columns of a revocation.
const RevocationColumns = "seq, kind, key, gen, owner, domain, user_id, reason, at, expires_at"

// RevocationDest returns the places for the columns of a revocation.
func RevocationDest(r *storage.Revocation) []any {
	return []any{&r.Seq, &r.Kind, &r.Key, &r.Gen, &r.Owner, &r.Domain, &r.User, &r.Reason, (*Instant)(&r.At), (*Instant)(&r.ExpiresAt)}
}

// AuditColumns are the columns of a record of the audit log.
const AuditColumns = "node, seq, hash, record, private, at, domain, user_id"

// AuditDest returns the places for the columns of a record of the audit log.
func AuditDest(r *storage.AuditRecord) []any {
	return []any{&r.Node, &r.Seq, (*Digest)(&r.Hash), &r.Record, &r.Private, (*Instant)(&r.At), &r.Domain, &r.User}
}

// BrowserColumns are the columns of a browser session.
const BrowserColumns = "hash, domain, user_id, provider, issuer, upstream_sid, auth_time, acr, amr, created_at, used_at, idle_at, " +
	"expires_at, upstream_token"

// BrowserArgs returns the arguments that write a browser session.
func BrowserArgs(s storage.BrowserSession) []any {
	return []any{s.Hash[:], s.Domain, s.User, s.Provider, s.Issuer, s.UpstreamSID, Millis(s.AuthTime), s.ACR, Text(s.AMR),
		Millis(s.CreatedAt), Millis(s.UsedAt), Millis(s.IdleAt), Millis(s.ExpiresAt), s.UpstreamToken}
}

// BrowserDest returns the places for the columns of a browser session.
func BrowserDest(s *storage.BrowserSession) []any {
	return []any{(*Digest)(&s.Hash), &s.Domain, &s.User, &s.Provider, &s.Issuer, &s.UpstreamSID, (*Instant)(&s.AuthTime), &s.ACR,
		(*List)(&s.AMR), (*Instant)(&s.CreatedAt), (*Instant)(&s.UsedAt), (*Instant)(&s.IdleAt), (*Instant)(&s.ExpiresAt),
		&s.UpstreamToken}
}

// ClientColumns are the columns of a client.
const ClientColumns = "id, seq, registration, secret, old_secret, old_until, registered_with, managed_by, created_at, removed_at, " +
	"removed_reason"

// ClientDest returns the places for the columns of a client.
func ClientDest(c *storage.Client) []any {
	return []any{&c.ID, &c.Seq, &c.Registration, &c.Secret, &c.OldSecret, (*Instant)(&c.OldUntil), &c.RegisteredWith,
		&c.ManagedBy, (*Instant)(&c.CreatedAt), (*Instant)(&c.RemovedAt), &c.RemovedReason}
}

// ClientArgs returns the arguments of insertClient and updateClient: all columns but the number.
// ClientArgs returns the arguments that write a client: all columns but the number.
func ClientArgs(c storage.Client) []any {
	return []any{c.ID, c.Registration, c.Secret, c.OldSecret, Millis(c.OldUntil), c.RegisteredWith, c.ManagedBy,
		Millis(c.CreatedAt), Millis(c.RemovedAt), c.RemovedReason}
}

// DeviceCodeColumns are the columns of a device code.
const DeviceCodeColumns = "hash, user_code, client, request, jkt, network, decided_at, allowed, domain, user_id, device_id, issuer, " +
	"upstream_sid, auth_time, acr, amr, created_at, expires_at, spent_at, grant_id, upstream_token"

// DeviceCodeArgs returns the arguments that write a device code.
func DeviceCodeArgs(c storage.DeviceCode) []any {
	return []any{c.Hash[:], c.UserCode[:], c.Client, c.Request.Encode(), c.JKT, c.Network, Millis(c.DecidedAt), c.Allowed, c.Domain, c.User,
		c.Device, c.Issuer, c.UpstreamSID, Millis(c.AuthTime), c.ACR, Text(c.AMR), Millis(c.CreatedAt), Millis(c.ExpiresAt),
		Millis(c.SpentAt), c.Grant, c.UpstreamToken}
}

// DeviceCodeDest returns the places for the columns of a device code.
func DeviceCodeDest(c *storage.DeviceCode) []any {
	return []any{(*Digest)(&c.Hash), (*Digest)(&c.UserCode), &c.Client, (*Form)(&c.Request), &c.JKT, &c.Network, (*Instant)(&c.DecidedAt),
		&c.Allowed, &c.Domain, &c.User, &c.Device, &c.Issuer, &c.UpstreamSID, (*Instant)(&c.AuthTime), &c.ACR, (*List)(&c.AMR),
		(*Instant)(&c.CreatedAt), (*Instant)(&c.ExpiresAt), (*Instant)(&c.SpentAt), &c.Grant, &c.UpstreamToken}
}

// KeptColumns are the columns of a kept answer.
const KeptColumns = "key, request, answer, expires_at"

// RekeyColumns are the columns of a replacement of a key.
const RekeyColumns = "domain, device_id, old_jkt, new_jkt, at, alg"

// RekeyDest returns the places for the columns of a replacement of a key.
func RekeyDest(r *storage.Rekey) []any {
	return []any{&r.Domain, &r.Device, &r.OldJKT, &r.NewJKT, (*Instant)(&r.At), &r.Alg}
}

// CredentialColumns are the columns of a credential.
const CredentialColumns = "id, domain, user_id, device_id, format, jkt, handle, status, issued_at, expires_at, ended_at, ended_reason, " +
	"handle_ended_at, ca"

// CredentialArgs returns the arguments that write a credential.
func CredentialArgs(c storage.Credential) []any {
	return []any{c.ID, c.Domain, c.User, c.Device, c.Format, c.JKT, c.Handle, EntryNumber(c.Status), Millis(c.IssuedAt),
		Millis(c.ExpiresAt), Millis(c.EndedAt), c.EndedReason, Millis(c.HandleEndedAt), c.CA}
}

// CredentialDest returns the places for the columns of a credential.
func CredentialDest(c *storage.Credential) []any {
	return []any{&c.ID, &c.Domain, &c.User, &c.Device, &c.Format, &c.JKT, &c.Handle, (*Entry)(&c.Status), (*Instant)(&c.IssuedAt),
		(*Instant)(&c.ExpiresAt), (*Instant)(&c.EndedAt), &c.EndedReason, (*Instant)(&c.HandleEndedAt), &c.CA}
}

// CredentialEndColumns are the columns of the end of a credential that a list shows.
const CredentialEndColumns = "n, entry, handle_only"

// A CredentialEnd is the row of the end of a credential.
type CredentialEnd struct {
	Number     int64
	Entry      Entry
	HandleOnly bool
}

// CredentialEndDest returns the places for the columns of the end of a credential.
func CredentialEndDest(e *CredentialEnd) []any { return []any{&e.Number, &e.Entry, &e.HandleOnly} }

// CredentialEnds returns ends as the store does.
func CredentialEnds(rows []CredentialEnd) []storage.CredentialEnd {
	ends := make([]storage.CredentialEnd, len(rows))
	for i, e := range rows {
		ends[i] = storage.CredentialEnd{Number: e.Number, Index: e.Entry.Index, HandleOnly: e.HandleOnly}
	}
	return ends
}

// CertificateEndColumns are the columns of the end of a certificate that a revocation list shows.
const CertificateEndColumns = "n, serial, reason, at, expires_at"

// CertificateEndDest returns the places for the columns of the end of a certificate.
func CertificateEndDest(e *storage.CertificateEnd) []any {
	return []any{&e.Number, &e.Serial, &e.Reason, (*Instant)(&e.At), (*Instant)(&e.ExpiresAt)}
}

// StatusListColumns are the columns of a status list.
const StatusListColumns = "id, domain, seed, size, available, used, created_at, expires_at, ended_at"

// StatusListArgs returns the arguments that write a status list.
func StatusListArgs(l storage.StatusList) []any {
	return []any{l.ID, l.Domain, l.Seed[:], l.Size, l.Available, l.Used, Millis(l.CreatedAt), Millis(l.ExpiresAt), Millis(l.EndedAt)}
}

// The tables of status lists, by kind, and their columns with the kind.
var (
	StatusListTables = [...]string{storage.SessionStatuses: "status_lists", storage.CredentialStatuses: "credential_lists"}
	StatusListKinds  = [...]string{
		storage.SessionStatuses: StatusListColumns + ", 0", storage.CredentialStatuses: StatusListColumns + ", 1",
	}
)

// StatusListDest returns the places for the columns of a status list and its kind.
func StatusListDest(l *storage.StatusList) []any {
	return []any{&l.ID, &l.Domain, (*Digest)(&l.Seed), &l.Size, &l.Available, &l.Used, (*Instant)(&l.CreatedAt), (*Instant)(&l.ExpiresAt),
		(*Instant)(&l.EndedAt), (*int)(&l.Kind)}
}

// UserEventColumns are the columns of a event of a user.
const UserEventColumns = "domain, user_id, number, kind, device_id, at"

// UserEventDest returns the places for the columns of a event of a user.
func UserEventDest(e *storage.UserEvent) []any {
	return []any{&e.Domain, &e.User, &e.Number, (*string)(&e.Kind), &e.Device, (*Instant)(&e.At)}
}

// EndedGrantKept are the columns of an ended grant that are as they were in the grant, and EndedGrantColumns are all.
const (
	EndedGrantKept = "id, domain, client, user_id, device_id, scopes, audience, issuer, auth_time, acr, amr, " +
		"rotated_at, created_at"
	EndedGrantColumns = EndedGrantKept + ", ended_at, ended_reason"
)

// EndedGrantDest returns the places for the columns of an ended grant.
func EndedGrantDest(g *storage.Grant) []any {
	return []any{&g.ID, &g.Domain, &g.Client, &g.User, &g.Device, (*List)(&g.Scopes), (*List)(&g.Audience), &g.Issuer,
		(*Instant)(&g.AuthTime), &g.ACR, (*List)(&g.AMR), (*Instant)(&g.RotatedAt), (*Instant)(&g.CreatedAt), (*Instant)(&g.EndedAt),
		&g.EndedReason}
}

// RemovedKeyColumns are the columns of a key of a device that was forgotten.
const RemovedKeyColumns = "domain, jkt, device_id, user_id, delegation, number"

// WithdrawalColumns are the columns of a withdrawal.
const WithdrawalColumns = "id, domain, user_id, jti, device, jkt, tells_handle, below, reason, at"

// WithdrawalDest returns the places for the columns of a withdrawal.
func WithdrawalDest(w *storage.Withdrawal) []any {
	return []any{&w.ID, &w.Domain, &w.User, &w.JTI, &w.Device, &w.JKT, &w.TellsHandle, &w.Below, &w.Reason, (*Instant)(&w.At)}
}

// UpstreamTokenColumns are the columns of an upstream token.
const UpstreamTokenColumns = "id, domain, user_id, provider, sealed, state, number, created_at, checked_at, retry_at"

// UpstreamTokenArgs returns the arguments that write an upstream token.
func UpstreamTokenArgs(u storage.UpstreamToken) []any {
	return []any{u.ID, u.Domain, u.User, u.Provider, u.Sealed, int64(u.State), u.Number, Millis(u.CreatedAt), Millis(u.CheckedAt),
		Millis(u.RetryAt)}
}

// UpstreamTokenDest returns the places for the columns of an upstream token.
func UpstreamTokenDest(u *storage.UpstreamToken) []any {
	return []any{&u.ID, &u.Domain, &u.User, &u.Provider, &u.Sealed, (*int)(&u.State), &u.Number, (*Instant)(&u.CreatedAt),
		(*Instant)(&u.CheckedAt), (*Instant)(&u.RetryAt)}
}

// SignedDocumentColumns are the columns of a document that a user signed.
const SignedDocumentColumns = "domain, user_id, kind, key, seq, subject, public, content, created_at, changed_at, expires_at"

// SignedDocumentArgs returns the arguments that write a document that a user signed.
func SignedDocumentArgs(d storage.SignedDocument) []any {
	return []any{d.Domain, d.User, string(d.Kind), d.Key, d.Seq, d.Subject, d.Public, d.Content, Millis(d.CreatedAt), Millis(d.ChangedAt),
		Millis(d.ExpiresAt)}
}

// SignedDocumentDest returns the places for the columns of a document that a user signed.
func SignedDocumentDest(d *storage.SignedDocument) []any {
	return []any{&d.Domain, &d.User, (*string)(&d.Kind), &d.Key, &d.Seq, &d.Subject, &d.Public, &d.Content, (*Instant)(&d.CreatedAt),
		(*Instant)(&d.ChangedAt), (*Instant)(&d.ExpiresAt)}
}
