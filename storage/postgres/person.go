package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

// A part is the rows of one table that are about a user: of the user $2 of the domain $1.
type part struct {
	table string
	// key are the columns that identify a row. Without a condition, the rows are those of the user.
	key, condition string
	// columns are all columns of the table. Those of withheld are not shown to the user: hashes, keys and the answers of forms, which are
	// about the issuer and not about them.
	columns, withheld string
	// stays is set if the removal of a user leaves the rows.
	stays bool
}

// parts are all tables with rows about users. A removal deletes them in this order: a code names a grant, a withdrawal covers statements,
// and some rows are found by the devices or the links of the user. Tables without such rows are in impersonal.
var parts = []part{
	{table: "users", key: "domain, id", condition: "domain = $1 AND id = $2", columns: row.UserColumns, stays: true}, // deleted before
	{table: "codes", key: "hash", columns: row.CodeColumns, withheld: "hash, challenge"},
	{table: "device_codes", key: "hash", condition: "domain = $1 AND user_id = $2 AND user_id <> ''", columns: row.DeviceCodeColumns,
		withheld: "hash, user_code"},
	{table: "browser_sessions", key: "hash", columns: row.BrowserColumns, withheld: "hash"},
	{table: "logins", key: "state", columns: row.LoginColumns, withheld: "state, browser, nonce, verifier",
		// Whatever package writes it, the state of a login names the account at the provider.
		condition: "domain = $1 AND person IS NOT NULL AND EXISTS (SELECT 1 FROM links l WHERE l.domain = $1 AND l.user_id = $2 " +
			"AND " + names("logins.person", "l.subject") + " AND " + names("logins.person", "l.issuer") + ")"},
	{table: "logouts", key: "domain, issuer, subject, sid", columns: "domain, issuer, subject, sid, at, expires_at",
		condition: "domain = $1 AND subject <> '' AND (issuer, subject) IN " +
			"(SELECT issuer, subject FROM links WHERE domain = $1 AND user_id = $2)"},
	{table: "statements", key: "jti", columns: row.StatementColumns},
	{table: "withdrawals", key: "id", columns: row.WithdrawalColumns},
	{table: "rekeys", key: "domain, old_jkt", columns: row.RekeyColumns + ", number",
		condition: "domain = $1 AND device_id IN (SELECT id FROM devices WHERE domain = $1 AND user_id = $2)"},
	{table: "revocations", key: "seq", columns: row.RevocationColumns, stays: true, // until the tokens have expired
		condition: "owner = $1 || '/' || $2 AND owner <> '' OR kind IN ('user', 'gen') AND key = $1 || '/' || $2"},
	// Records stay, without their private parts: they name the user by id.
	{table: "audit", key: "node, seq", condition: "domain = $1 AND user_id = $2 AND user_id <> ''", columns: row.AuditColumns,
		withheld: "hash", stays: true},
	{table: "devices", key: "domain, id", columns: row.DeviceColumns},
	{table: "removed_keys", key: "domain, jkt", columns: row.RemovedKeyColumns},
	{table: "grants", key: "id", columns: row.GrantColumns},
	{table: "ended_grants", key: "id", columns: row.EndedGrantColumns},
	{table: "signed_documents", key: "domain, user_id, kind, key", columns: row.SignedDocumentColumns},
	{table: "credentials", key: "id", columns: row.CredentialColumns},
	{table: "upstream_tokens", key: "id", columns: row.UpstreamTokenColumns, withheld: "sealed"},
	{table: "user_events", key: "domain, user_id, number", columns: row.UserEventColumns},
	{table: "user_event_numbers", key: "domain, user_id", columns: "domain, user_id, last"},
	{table: "links", key: "domain, issuer, subject", columns: row.LinkColumns},
	{table: "names", key: "domain, key", columns: row.NameColumns},
}

// internal are the columns that are numbers of the store alone, by table.
var internal = map[string]string{"grants": "n"}

// impersonal are the tables without rows about users, and why they have none.
var impersonal = map[string]string{
	"schema_compatibility": "a version",
	"secrets":              "keys of the issuer, sealed",
	"signing_keys":         "keys of the issuer",
	"pushed":               "requests of apps, for a minute, before anybody has signed in",
	"spent_ids":            "hashes of ids that can be used once, until they expire",
	"clients":              "apps and services",
	"clock":                "the time",
	"pings":                "a counter",
	"history":              "the server of the numbers",
	"replay_epoch":         "a random id of the store of spent proofs",
	"replay_birth":         "a time",
	"replays":              "hashes of proofs, for minutes",
	"status_lists":         "random numbers of entries",
	"ended_statuses":       "random numbers of entries",
	"credential_lists":     "random numbers of entries",
	"credential_ends":      "random numbers of entries",
	"certificate_ends":     "random serial numbers",
	"swept_revocations":    "a number",
	"tombstones":           "keyed hashes, which only somebody who knows the name can find",
	"kept_answers":         "answers to operators, sealed, for a day",
	"audit_heads":          "signatures of the issuer",
	"audit_erased":         "numbers of records",
	"removals":             "ids of users who are being removed, for moments",
}

// names returns the condition that JSON contains a text, as package encoding/json writes it.
func names(document, text string) string {
	quoted := "to_json(" + text + ")::text"
	for _, c := range "<>&" {
		quoted = fmt.Sprintf(`replace(%s, '%c', '\u%04x')`, quoted, c, c)
	}
	return "position(convert_to(" + quoted + ", 'UTF8') IN " + document + ") > 0"
}

// where returns the condition of the rows of a part.
func (p part) where() string {
	if p.condition == "" {
		return "domain = $1 AND user_id = $2"
	}
	return p.condition
}

// The statement that shows the rows of each part as JSON, with the name of the table, and those that delete at most $3 of them.
var (
	shows    = showParts()
	erasures = eraseParts()
)

func showParts() string {
	var selects []string
	for _, p := range parts {
		selects = append(selects, "SELECT '"+p.table+"', "+p.object()+" FROM "+p.table+" WHERE "+p.where())
	}
	return strings.Join(selects, " UNION ALL ")
}

func eraseParts() (erasures []string) {
	for _, p := range parts {
		if !p.stays {
			rows := "(SELECT " + p.key + " FROM " + p.table + " WHERE " + p.where() + " LIMIT $3)"
			erasures = append(erasures, "DELETE FROM "+p.table+" WHERE ("+p.key+") IN "+rows)
		}
	}
	return append(erasures, eraseAudit)
}

// object returns the expression of a row as a JSON object.
func (p part) object() string {
	var members []string
	for _, c := range strings.Split(p.columns, ", ") {
		if !strings.Contains(", "+p.withheld+", ", ", "+c+", ") {
			members = append(members, "'"+c+"'", shown(c))
		}
	}
	return "json_build_object(" + strings.Join(members, ", ") + ")::text"
}

// shown returns a column as people and programs read it: times by RFC 3339, and JSON as it is.
func shown(column string) string {
	switch column {
	case "person": // without the upstream token, which is sealed
		return "json_or_null(" + column + ")::jsonb - 'upstream'"
	case "scopes", "audience", "amr", "claims", "record", "private":
		return "json_or_null(" + column + ")"
	case "at", "auth_time":
		return "shown_time(" + column + ")"
	}
	if strings.HasSuffix(column, "_at") {
		return "shown_time(" + column + ")"
	}
	return column
}

// PersonalRecords reads all kinds in one statement, and so at one moment.
func (r *reader) PersonalRecords(ctx context.Context, domain, user string) ([]storage.PersonalRecords, error) {
	type object struct{ table, text string }
	objects, err := all(ctx, r, shows, func(o *object) []any { return []any{&o.table, &o.text} }, domain, user)
	if err != nil {
		return nil, err
	}
	list := make([]storage.PersonalRecords, len(parts))
	for i, p := range parts {
		list[i].Name = p.table
		for _, o := range objects {
			if o.table == p.table {
				list[i].Rows = append(list[i].Rows, o.text)
			}
		}
	}
	return list, nil
}
