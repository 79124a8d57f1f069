-- Requests that came with an idempotency key and changed something, with their sealed answers.

-- +goose Up

CREATE TABLE kept_answers (
    key        BLOB NOT NULL PRIMARY KEY,
    request    BLOB NOT NULL,
    answer     BLOB NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX kept_answers_expires ON kept_answers (expires_at);
