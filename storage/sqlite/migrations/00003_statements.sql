-- Statements that the issuer has signed, and devices that a user's own key took in under one.

-- +goose Up

CREATE TABLE statements (
    jti              TEXT PRIMARY KEY,
    domain           TEXT NOT NULL,
    user_id          TEXT NOT NULL,
    typ              TEXT NOT NULL,
    claims           BLOB NOT NULL,
    created_at       INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    withdrawn_at     INTEGER NOT NULL,
    withdrawn_reason TEXT NOT NULL
) STRICT;
CREATE INDEX statements_user ON statements (domain, user_id);
CREATE INDEX statements_expires ON statements (expires_at);

ALTER TABLE devices ADD COLUMN delegation TEXT NOT NULL DEFAULT '';
ALTER TABLE devices ADD COLUMN number INTEGER NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX devices_number ON devices (domain, delegation, number) WHERE delegation <> '';
