-- What happened to the devices of a user, numbered for each user: the numbers tell nothing about others. The last number outlives
-- its row, so that it is not given again.

-- +goose Up

CREATE TABLE user_events (
    domain     TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    number     INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    device_id  TEXT NOT NULL,
    at         INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    UNIQUE (domain, user_id, number)
) STRICT;
CREATE INDEX user_events_expires ON user_events (expires_at);

CREATE TABLE user_event_numbers (
    domain  TEXT NOT NULL,
    user_id TEXT NOT NULL,
    last    INTEGER NOT NULL,
    PRIMARY KEY (domain, user_id)
) STRICT, WITHOUT ROWID;
