package sqlite

import (
	"context"
	"fmt"
	"strings"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

// A part is the rows of one table that are about a user: of the user ?2 of the domain ?1.
type part struct {
	table string
	// key are the columns that identify a row, and index finds the rows. Without a condition, they are those of the user.
	key, index, condition string
	// columns are all columns of the table. Those of withheld are not shown to the user: hashes, keys and the answers of forms, which are
	// about the issuer and not about them.
	columns, withheld string
	// stays is set if the removal of a user leaves the rows.
	stays bool
}

// parts are all tables with rows about users. A removal deletes them in this order: a code names a grant, a withdrawal covers statements,
// and some rows are found by the devices or the links of the user. Tables without such rows are in impersonal.
var parts = []part{
	{table: "users", key: "domain, id", condition: "domain = ?1 AND id = ?2", columns: row.UserColumns, stays: true}, // deleted before
	{table: "codes", key: "rowid", index: "codes_expires", condition: "expires_at >= 0 AND domain = ?1 AND user_id = ?2", // few
		columns: row.CodeColumns, withheld: "hash, challenge"},
	{table: "device_codes", key: "rowid", index: "device_codes_user", condition: "domain = ?1 AND user_id = ?2 AND user_id <> ''",
		columns: row.DeviceCodeColumns, withheld: "hash, user_code"},
	{table: "browser_sessions", key: "rowid", index: "browser_sessions_user", columns: row.BrowserColumns, withheld: "hash"},
	{table: "logins", key: "rowid", index: "logins_expires", columns: row.LoginColumns, withheld: "state, browser, nonce, verifier",
		// Whatever package writes it, the state of a login names the account at the provider.
		condition: "expires_at >= 0 AND domain = ?1 AND person IS NOT NULL AND EXISTS (SELECT 1 FROM links l INDEXED BY links_user " +
			"WHERE l.domain = ?1 AND l.user_id = ?2 " +
			"AND " + names("logins.person", "l.subject") + " AND " + names("logins.person", "l.issuer") + ")"},
	{table: "logouts", key: "domain, issuer, subject, sid", columns: "domain, issuer, subject, sid, at, expires_at",
		condition: "domain = ?1 AND subject <> '' AND (issuer, subject) IN " +
			"(SELECT issuer, subject FROM links INDEXED BY links_user WHERE domain = ?1 AND user_id = ?2)"},
	{table: "statements", key: "rowid", index: "statements_user", columns: row.StatementColumns},
	{table: "withdrawals", key: "rowid", index: "withdrawals_user", columns: row.WithdrawalColumns},
	{table: "rekeys", key: "domain, old_jkt", index: "rekeys_device", columns: row.RekeyColumns + ", number",
		condition: "domain = ?1 AND device_id IN (SELECT id FROM devices INDEXED BY devices_user WHERE domain = ?1 AND user_id = ?2)"},
	{table: "revocations", key: "rowid", columns: row.RevocationColumns, stays: true, // until the tokens have expired
		condition: "owner = ?1 || '/' || ?2 AND owner <> '' OR kind IN ('user', 'gen') AND key = ?1 || '/' || ?2"},
	// Records stay, without their private parts: they name the user by id.
	{table: "audit", key: "node, seq", index: "audit_user", condition: "domain = ?1 AND user_id = ?2 AND user_id <> ''",
		columns: row.AuditColumns, withheld: "hash", stays: true},
	{table: "devices", key: "domain, id", index: "devices_user", columns: row.DeviceColumns},
	{table: "removed_keys", key: "domain, jkt", index: "removed_keys_user", columns: row.RemovedKeyColumns},
	{table: "grants", key: "rowid", index: "grants_user_device", columns: row.GrantColumns},
	{table: "ended_grants", key: "rowid", index: "ended_grants_user", columns: row.EndedGrantColumns},
	{table: "signed_documents", key: "rowid", columns: row.SignedDocumentColumns},
	{table: "credentials", key: "rowid", index: "credentials_user", columns: row.CredentialColumns},
	{table: "upstream_tokens", key: "rowid", index: "upstream_tokens_user", columns: row.UpstreamTokenColumns, withheld: "sealed"},
	{table: "user_events", key: "rowid", columns: row.UserEventColumns},
	{table: "user_event_numbers", key: "domain, user_id", columns: "domain, user_id, last"},
	{table: "links", key: "domain, issuer, subject", index: "links_user", columns: row.LinkColumns},
	{table: "names", key: "domain, key", index: "names_user", columns: row.NameColumns},
}

// impersonal are the tables without rows about users, and why they have none.
var impersonal = map[string]string{
	"secrets":          "keys of the issuer, sealed",
	"signing_keys":     "keys of the issuer",
	"pushed":           "requests of apps, for a minute, before anybody has signed in",
	"replay_epoch":     "a random id of the store of spent proofs",
	"replays":          "hashes of proofs, for minutes",
	"spent_ids":        "hashes of ids that can be used once, until they expire",
	"clients":          "apps and services",
	"clock":            "the time",
	"pings":            "a counter",
	"status_lists":     "random numbers of entries",
	"ended_statuses":   "random numbers of entries",
	"credential_lists": "random numbers of entries",
	"credential_ends":  "random numbers of entries",
	"certificate_ends": "random serial numbers",
	"tombstones":       "keyed hashes, which only somebody who knows the name can find",
	"kept_answers":     "answers to operators, sealed, for a day",
	"audit_heads":      "signatures of the issuer",
	"audit_erased":     "numbers of records",
	"removals":         "ids of users who are being removed, for moments",
}

// names returns the condition that JSON contains a text, as package encoding/json writes it.
func names(document, text string) string {
	quoted := "json_quote(" + text + ")"
	for _, c := range "<>&" {
		quoted = fmt.Sprintf(`replace(%s, '%c', '\u%04x')`, quoted, c, c)
	}
	return "instr(CAST(" + document + " AS TEXT), " + quoted + ") > 0"
}

// from returns the rows of a part, for a SELECT.
func (p part) from() string {
	text := p.table
	if p.index != "" {
		text += " INDEXED BY " + p.index
	}
	if p.condition == "" {
		return text + " WHERE domain = ?1 AND user_id = ?2"
	}
	return text + " WHERE " + p.condition
}

// The statements that show the rows of each part as JSON, and those that delete at most ?3 of them.
var shows, erasures = func() (shows, erasures []int) {
	for _, p := range parts {
		shows = append(shows, statement("SELECT "+p.object()+" FROM "+p.from()))
		if !p.stays {
			rows := "(SELECT " + p.key + " FROM " + p.from() + " LIMIT ?3)"
			erasures = append(erasures, statement("DELETE FROM "+p.table+" WHERE ("+p.key+") IN "+rows))
		}
	}
	return shows, append(erasures, eraseAudit)
}()

// object returns the expression of a row as a JSON object.
func (p part) object() string {
	var members []string
	for _, c := range strings.Split(p.columns, ", ") {
		if !strings.Contains(", "+p.withheld+", ", ", "+c+", ") {
			members = append(members, "'"+c+"', "+shown(c))
		}
	}
	return "json_object(" + strings.Join(members, ", ") + ")"
}

// shown returns a column as people and programs read it: times by RFC 3339, and JSON as it is.
func shown(column string) string {
	switch column {
	case "at", "auth_time":
	case "scopes", "audience", "amr":
		return "json(" + column + ")"
	case "person": // without the upstream token, which is sealed
		text := "CAST(" + column + " AS TEXT)"
		return "iif(json_valid(" + text + "), json_remove(" + text + ", '$.upstream'), NULL)"
	case "claims", "record", "private":
		text := "CAST(" + column + " AS TEXT)"
		return "iif(json_valid(" + text + "), json(" + text + "), NULL)"
	default:
		if !strings.HasSuffix(column, "_at") {
			return column
		}
	}
	return "iif(" + column + " = 0, NULL, strftime('%Y-%m-%dT%H:%M:%fZ', " + column + " / 1000.0, 'unixepoch'))"
}

func (r *reader) PersonalRecords(ctx context.Context, domain, user string) (list []storage.PersonalRecords, err error) {
	for i, p := range parts {
		records := storage.PersonalRecords{Name: p.table}
		err := r.rows(ctx, shows[i], func() []any {
			records.Rows = append(records.Rows, "")
			return []any{&records.Rows[len(records.Rows)-1]}
		}, domain, user)
		if err != nil {
			return nil, err
		}
		list = append(list, records)
	}
	return list, nil
}
