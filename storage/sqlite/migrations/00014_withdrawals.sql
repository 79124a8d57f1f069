-- Many statements end by one row, which readers look at until it is written into the rows of the statements. The share of a
-- user in the live revocations is counted. Withdrawn statements are swept before they expire.

-- +goose Up

CREATE TABLE withdrawals (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    domain       TEXT NOT NULL,
    user_id      TEXT NOT NULL,
    jti          TEXT NOT NULL,
    device       TEXT NOT NULL,
    jkt          TEXT NOT NULL,
    tells_handle INTEGER NOT NULL,
    below        INTEGER NOT NULL,
    reason       TEXT NOT NULL,
    at           INTEGER NOT NULL
) STRICT;
CREATE INDEX withdrawals_user ON withdrawals (domain, user_id);
CREATE INDEX statements_withdrawn ON statements (withdrawn_at) WHERE withdrawn_at <> 0;
ALTER TABLE revocations ADD COLUMN owner TEXT NOT NULL DEFAULT '';
CREATE INDEX revocations_owner ON revocations (owner) WHERE owner <> '';
