-- Spent DPoP proofs, and the epoch during which none was forgotten too early. Times are whole seconds since 1970. A crash of the server
-- and the promotion of a standby empty unlogged tables, both at once: then another epoch begins. What is spent needs no fsync.

-- +goose Up

CREATE UNLOGGED TABLE replay_epoch (
    n       integer PRIMARY KEY CHECK (n = 1),
    id      bytea NOT NULL,
    birth   bigint NOT NULL,
    horizon bigint NOT NULL -- proofs that expired by then may be gone
) WITH (fillfactor = 10);

CREATE UNLOGGED TABLE replays (
    key     bytea PRIMARY KEY,
    expires bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX replays_expires ON replays (expires);

-- When the newest epoch began: this outlives a crash, so that no later epoch begins earlier if the clock was set back.
CREATE TABLE replay_birth (
    n    integer PRIMARY KEY CHECK (n = 1),
    last bigint NOT NULL
);
INSERT INTO replay_birth (n, last) VALUES (1, 0);

-- +goose StatementBegin
CREATE FUNCTION end_replay_epoch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM replay_epoch;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER replays_are_truncated AFTER TRUNCATE ON replays FOR EACH STATEMENT EXECUTE FUNCTION end_replay_epoch();
