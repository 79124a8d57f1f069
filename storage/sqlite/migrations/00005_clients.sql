-- Clients that were registered while the issuer ran. A row is never deleted: its id is never used again.

-- +goose Up

CREATE TABLE clients (
    id             TEXT PRIMARY KEY,
    seq            INTEGER NOT NULL UNIQUE, -- of the last change
    registration   BLOB NOT NULL,
    secret         BLOB, -- SHA-256
    old_secret     BLOB, -- SHA-256
    old_until      INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    removed_at     INTEGER NOT NULL,
    removed_reason TEXT NOT NULL
) STRICT;

CREATE INDEX grants_client ON grants (client) WHERE ended_at = 0;
