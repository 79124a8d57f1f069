package sweep

// Restored are the tables that are emptied when a database was restored to an older state: what they hold may have been used or ended
// since. Logouts are about logins that end with it, and all statements are withdrawn. Without an epoch, spent proofs begin another one.
var Restored = []string{
	"codes", "device_codes", "logins", "logouts", "pushed", "browser_sessions", "upstream_tokens", "withdrawals", "replay_epoch",
}
