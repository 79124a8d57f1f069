package sqlite

import "github.com/imidentity/issuer/storage"

// For each record: its columns, first those that identify it; the arguments that write them; the places that they are read into.

const signingKeyColumns = "kid, alg, sealed, public, created_at, active_at, retired_at, revoked_at, revoked_reason, life"

func signingKeyArgs(k storage.SigningKey) []any {
	return []any{k.KID, k.Alg, k.Sealed, k.Public, millis(k.CreatedAt), millis(k.ActiveAt), millis(k.RetiredAt),
		millis(k.RevokedAt), k.RevokedReason, k.Life.Milliseconds()}
}

func signingKeyDest(k *storage.SigningKey) []any {
	return []any{&k.KID, &k.Alg, &k.Sealed, &k.Public, (*instant)(&k.CreatedAt), (*instant)(&k.ActiveAt),
		(*instant)(&k.RetiredAt), (*instant)(&k.RevokedAt), &k.RevokedReason, (*span)(&k.Life)}
}

const userColumns = "domain, id, handle, gen, created_at, disabled_at, findable"

func userArgs(u storage.User) []any {
	return []any{u.Domain, u.ID, u.Handle, u.Gen, millis(u.CreatedAt), millis(u.DisabledAt), u.Findable}
}

func userDest(u *storage.User) []any {
	return []any{&u.Domain, &u.ID, &u.Handle, &u.Gen, (*instant)(&u.CreatedAt), (*instant)(&u.DisabledAt), &u.Findable}
}

const linkColumns = "domain, issuer, subject, user_id, created_at"

func linkArgs(l storage.Link) []any {
	return []any{l.Domain, l.Issuer, l.Subject, l.User, millis(l.CreatedAt)}
}

func linkDest(l *storage.Link) []any {
	return []any{&l.Domain, &l.Issuer, &l.Subject, &l.User, (*instant)(&l.CreatedAt)}
}

const nameColumns = "domain, key, local, user_id, taken_at, released_at, tables"

func nameArgs(n storage.Name) []any {
	return []any{n.Domain, n.Key, n.Local, n.User, millis(n.TakenAt), millis(n.ReleasedAt), n.Tables}
}

func nameDest(n *storage.Name) []any {
	return []any{&n.Domain, &n.Key, &n.Local, &n.User, (*instant)(&n.TakenAt), (*instant)(&n.ReleasedAt), &n.Tables}
}

const deviceColumns = "domain, id, user_id, jkt, name, client, created_at, removed_at, removed_reason, delegation, number, alg, " +
	"platform"

func deviceArgs(d storage.Device) []any {
	return []any{d.Domain, d.ID, d.User, d.JKT, d.Name, d.Client, millis(d.CreatedAt), millis(d.RemovedAt),
		d.RemovedReason, d.Delegation, d.Number, d.Alg, d.Platform}
}

func deviceDest(d *storage.Device) []any {
	return []any{&d.Domain, &d.ID, &d.User, &d.JKT, &d.Name, &d.Client, (*instant)(&d.CreatedAt),
		(*instant)(&d.RemovedAt), &d.RemovedReason, &d.Delegation, &d.Number, &d.Alg, &d.Platform}
}

const grantColumns = "id, domain, client, user_id, device_id, jkt, scopes, audience, issuer, upstream_sid, auth_time, " +
	"acr, amr, gen, rotated_at, created_at, idle_at, expires_at, ended_at, ended_reason, status"

func grantArgs(g storage.Grant) []any {
	return []any{g.ID, g.Domain, g.Client, g.User, g.Device, g.JKT, text(g.Scopes), text(g.Audience), g.Issuer,
		g.UpstreamSID, millis(g.AuthTime), g.ACR, text(g.AMR), g.Gen, millis(g.RotatedAt), millis(g.CreatedAt),
		millis(g.IdleAt), millis(g.ExpiresAt), millis(g.EndedAt), g.EndedReason, entryNumber(g.Status)}
}

func grantDest(g *storage.Grant) []any {
	return []any{&g.ID, &g.Domain, &g.Client, &g.User, &g.Device, &g.JKT, (*list)(&g.Scopes), (*list)(&g.Audience),
		&g.Issuer, &g.UpstreamSID, (*instant)(&g.AuthTime), &g.ACR, (*list)(&g.AMR), &g.Gen, (*instant)(&g.RotatedAt),
		(*instant)(&g.CreatedAt), (*instant)(&g.IdleAt), (*instant)(&g.ExpiresAt), (*instant)(&g.EndedAt),
		&g.EndedReason, (*entry)(&g.Status)}
}

const codeColumns = "hash, domain, client, user_id, redirect_uri, redirect_given, challenge, jkt, device_name, scopes, " +
	"audience, issuer, upstream_sid, auth_time, acr, amr, created_at, expires_at, spent_at, grant_id, platform"

func codeArgs(c storage.Code) []any {
	return []any{c.Hash[:], c.Domain, c.Client, c.User, c.RedirectURI, c.RedirectGiven, c.Challenge, c.JKT, c.DeviceName,
		text(c.Scopes), text(c.Audience), c.Issuer, c.UpstreamSID, millis(c.AuthTime), c.ACR, text(c.AMR),
		millis(c.CreatedAt), millis(c.ExpiresAt), millis(c.SpentAt), c.Grant, c.Platform}
}

func codeDest(c *storage.Code) []any {
	return []any{(*digest)(&c.Hash), &c.Domain, &c.Client, &c.User, &c.RedirectURI, &c.RedirectGiven, &c.Challenge,
		&c.JKT, &c.DeviceName, (*list)(&c.Scopes), (*list)(&c.Audience), &c.Issuer, &c.UpstreamSID,
		(*instant)(&c.AuthTime), &c.ACR, (*list)(&c.AMR), (*instant)(&c.CreatedAt), (*instant)(&c.ExpiresAt),
		(*instant)(&c.SpentAt), &c.Grant, &c.Platform}
}

const loginColumns = "state, browser, domain, provider, nonce, verifier, request, person, created_at, expires_at"

func loginArgs(l storage.Login) []any {
	return []any{l.State[:], l.Browser[:], l.Domain, l.Provider, l.Nonce, l.Verifier, l.Request.Encode(),
		l.Person, millis(l.CreatedAt), millis(l.ExpiresAt)}
}

func loginDest(l *storage.Login) []any {
	return []any{(*digest)(&l.State), (*digest)(&l.Browser), &l.Domain, &l.Provider, &l.Nonce, &l.Verifier,
		(*form)(&l.Request), &l.Person, (*instant)(&l.CreatedAt), (*instant)(&l.ExpiresAt)}
}

const pushedColumns = "uri, client, request, expires_at"

func pushedArgs(p storage.Pushed) []any {
	return []any{p.URI[:], p.Client, p.Request.Encode(), millis(p.ExpiresAt)}
}

func pushedDest(p *storage.Pushed) []any {
	return []any{(*digest)(&p.URI), &p.Client, (*form)(&p.Request), (*instant)(&p.ExpiresAt)}
}

const statementColumns = "jti, domain, user_id, typ, claims, created_at, expires_at, withdrawn_at, withdrawn_reason, " +
	"device, gen, tells_handle, jkt"

func statementArgs(s storage.Statement) []any {
	return []any{s.JTI, s.Domain, s.User, s.Type, s.Claims, millis(s.CreatedAt), millis(s.ExpiresAt),
		millis(s.WithdrawnAt), s.WithdrawnReason, s.Device, s.Gen, s.TellsHandle, s.JKT}
}

func statementDest(s *storage.Statement) []any {
	return []any{&s.JTI, &s.Domain, &s.User, &s.Type, &s.Claims, (*instant)(&s.CreatedAt), (*instant)(&s.ExpiresAt),
		(*instant)(&s.WithdrawnAt), &s.WithdrawnReason, &s.Device, &s.Gen, &s.TellsHandle, &s.JKT}
}

const revocationColumns = "seq, kind, key, gen, owner, domain, user_id, reason, at, expires_at"

func revocationDest(r *storage.Revocation) []any {
	return []any{&r.Seq, &r.Kind, &r.Key, &r.Gen, &r.Owner, &r.Domain, &r.User, &r.Reason, (*instant)(&r.At), (*instant)(&r.ExpiresAt)}
}
