-- What is left of removed users: keyed hashes of their ids, names and accounts at OpenID providers, each with the day and no more. A row of
-- removals says that rows about a removed user are still to be deleted.

-- +goose Up

CREATE TABLE tombstones (
    domain     TEXT NOT NULL,
    mark       BLOB NOT NULL,
    removed_on INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (domain, mark)
) STRICT;
CREATE INDEX tombstones_expires ON tombstones (expires_at) WHERE expires_at <> 0;

CREATE TABLE removals (
    domain  TEXT NOT NULL,
    user_id TEXT NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (domain, user_id)
) STRICT, WITHOUT ROWID;
