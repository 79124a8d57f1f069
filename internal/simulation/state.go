package simulation

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/storage"
)

// Keys of rows.
type (
	hash [32]byte
	pair struct{ domain, id string }
	link struct{ domain, issuer, subject string }
	mark struct {
		domain string
		mark   hash
	}
	document struct {
		domain, user string
		kind         storage.DocumentKind
		key          string
	}
	numbered struct {
		domain, id string
		number     int64
	}
	logout        struct{ domain, issuer, subject, sid string }
	revocationKey struct {
		kind storage.RevocationKind
		key  string
	}
	once struct {
		kind string
		key  hash
	}
)

// Rows with columns that no record has.
type (
	rowedKey struct {
		storage.SigningKey
		Row int64
	}
	rowedGrant struct {
		storage.Grant
		Row int64 // its place in the order of insertion
	}
	rowedStatement struct {
		storage.Statement
		Row int64
	}
	numberedRekey struct {
		storage.Rekey
		Number int
	}
	// A removedKey is a key of a device that was forgotten.
	removedKey struct {
		Domain, JKT, Device, User, Delegation string
		Number                                int
	}
	spent struct {
		Key       once
		ExpiresAt time.Time
	}
	endedStatus struct {
		Entry     storage.StatusEntry
		ExpiresAt time.Time
	}
	certificateEnd struct {
		CA  string
		End storage.CertificateEnd
	}
	credentialEnd struct {
		Entry     storage.StatusEntry
		End       storage.CredentialEnd
		ExpiresAt time.Time
	}
)

// A state is the database at one moment.
type state struct {
	secrets        table[string, storage.Secret]
	signingKeys    table[string, rowedKey]
	users          table[pair, storage.User]
	links          table[link, storage.Link]
	names          table[pair, storage.Name]
	tombstones     table[mark, storage.Tombstone]
	removals       table[pair, storage.Removal]
	devices        table[pair, storage.Device]
	rekeys         table[pair, numberedRekey] // by the old key
	removedKeys    table[pair, removedKey]
	events         table[numbered, storage.UserEvent]
	eventNumbers   table[pair, int64]
	grants         table[string, rowedGrant]
	endedGrants    table[string, storage.Grant]
	codes          table[hash, storage.Code]
	deviceCodes    table[hash, storage.DeviceCode]
	logins         table[hash, storage.Login]
	logouts        table[logout, storage.Logout]
	pushed         table[hash, storage.Pushed]
	browsers       table[hash, storage.BrowserSession]
	upstream       table[string, storage.UpstreamToken]
	statements     table[string, rowedStatement]
	withdrawals    table[int64, storage.Withdrawal]
	revocations    table[revocationKey, storage.Revocation]
	clients        table[string, storage.Client]
	spentIDs       table[once, spent]
	kept           table[hash, storage.KeptAnswer]
	statusLists    table[int64, storage.StatusList]
	endedStatuses  table[storage.StatusEntry, endedStatus]
	credentials    table[string, storage.Credential]
	credentialEnds table[storage.StatusEntry, credentialEnd]
	documents      table[document, storage.SignedDocument]
	audit          table[numbered, storage.AuditRecord] // domain is empty, id the node
	auditHeads     table[string, storage.AuditHead]
	auditErased    table[string, int64]
	signedHeads    table[numbered, storage.SignedHead]
	counters       table[string, int64]
	times          table[string, time.Time]

	certificateEnds table[string, certificateEnd]
}

// tables returns the tables, in one order.
func (s *state) tables() []tabler {
	return []tabler{
		&s.secrets, &s.signingKeys, &s.users, &s.links, &s.names, &s.tombstones, &s.removals, &s.devices, &s.rekeys, &s.removedKeys,
		&s.events, &s.eventNumbers, &s.grants, &s.endedGrants, &s.codes, &s.deviceCodes, &s.logins, &s.logouts, &s.pushed, &s.browsers,
		&s.upstream, &s.statements, &s.withdrawals, &s.revocations, &s.clients, &s.spentIDs, &s.kept, &s.statusLists, &s.endedStatuses,
		&s.credentials, &s.credentialEnds, &s.documents,
		&s.audit, &s.auditHeads, &s.auditErased, &s.signedHeads, &s.counters, &s.times, &s.certificateEnds,
	}
}

// fork returns the state for a transaction to work on.
func (s *state) fork() *state {
	copied := *s
	for _, t := range copied.tables() {
		t.fork()
	}
	return &copied
}

// next increases a counter, which is a row like any other: two transactions that increase it overlap.
func (s *state) next(counter string) int64 {
	n, _ := s.counters.find(counter)
	s.counters.put(counter, n+1)
	return n + 1
}

// live reports whether a grant has not ended, is not idle for too long and has not expired.
func live(g *storage.Grant, now time.Time) bool {
	return g.EndedAt.IsZero() && (g.IdleAt.IsZero() || g.IdleAt.After(now)) && (g.ExpiresAt.IsZero() || g.ExpiresAt.After(now))
}

// covers reports whether w withdraws v.
func covers(w *storage.Withdrawal, v *storage.Statement) bool {
	return w.Domain == v.Domain && w.User == v.User && v.Gen < w.Below && (w.JTI == "" || w.JTI == v.JTI) &&
		(w.Device == "" && w.JKT == "" || w.Device != "" && w.Device == v.Device || w.JKT != "" && w.JKT == v.JKT) &&
		(!w.TellsHandle || v.TellsHandle)
}

// shown returns a statement, withdrawn where a withdrawal covers it.
func (s *state) shown(v storage.Statement) storage.Statement {
	if !v.WithdrawnAt.IsZero() {
		return v
	}
	domain, user := v.Domain, v.User
	list := s.withdrawals.where(func(w storage.Withdrawal) bool { return w.Domain == domain && w.User == user },
		func(a, b storage.Withdrawal) int { return cmp.Compare(a.ID, b.ID) })
	for i := range list {
		if covers(&list[i], &v) {
			v.WithdrawnAt, v.WithdrawnReason = list[i].At, list[i].Reason
			break
		}
	}
	return v
}

// statementsWhere returns the statements that match as they are shown, in an order.
func (s *state) statementsWhere(match func(v rowedStatement) bool, order func(a, b rowedStatement) int) []storage.Statement {
	var list []storage.Statement
	for _, v := range s.statements.where(match, order) {
		list = append(list, s.shown(v.Statement))
	}
	return list
}

// stands reports whether a statement, as it is shown, is neither withdrawn nor expired.
func stands(v *storage.Statement, now time.Time) bool {
	return v.WithdrawnAt.IsZero() && (v.ExpiresAt.IsZero() || v.ExpiresAt.After(now))
}

// active reports whether a device that is not removed is active.
func (s *state) active(d *storage.Device, now time.Time) bool {
	domain, user, id := d.Domain, d.User, d.ID
	if s.grants.any(func(g rowedGrant) bool {
		return g.Domain == domain && g.User == user && g.Device == id && live(&g.Grant, now)
	}) {
		return true
	}
	if d.Delegation == "" {
		return false
	}
	v, ok := s.statements.find(d.Delegation)
	if !ok || v.Domain != domain {
		return false
	}
	shown := s.shown(v.Statement)
	return stands(&shown, now)
}

// byCreation orders records by their creation, then by an id.
func byCreation(a, b time.Time, idA, idB string) int {
	return cmp.Or(a.Compare(b), strings.Compare(idA, idB))
}

func compareHash(a, b hash) int { return slices.Compare(a[:], b[:]) }
