-- Spent DPoP proofs, and the epoch during which none was forgotten too early. Times are whole seconds since 1970.

-- +goose Up

CREATE TABLE replay_epoch (
    n       INTEGER PRIMARY KEY CHECK (n = 1),
    id      BLOB NOT NULL,
    birth   INTEGER NOT NULL,
    horizon INTEGER NOT NULL -- what may be forgotten from then on may be gone
) STRICT;

CREATE TABLE replays (
    key     BLOB PRIMARY KEY,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX replays_expires ON replays (expires);
