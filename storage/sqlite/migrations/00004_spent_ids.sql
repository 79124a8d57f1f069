-- Ids that can be used once, such as the jti of a client's assertion, until their objects have expired.

-- +goose Up

CREATE TABLE spent_ids (
    kind       TEXT NOT NULL,
    key        BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX spent_ids_expires ON spent_ids (expires_at);
