-- Spent proofs by the time at which they expire: a ring of partitions, each for ten minutes in every 40. A partition whose proofs have all
-- expired is emptied at once. Nodes may run meanwhile: they wait for the lock that each spend shares, and the proofs stay.

-- +goose Up

SELECT pg_advisory_xact_lock(1768751105, 3);
ALTER TABLE replays RENAME TO replays_before;

CREATE TABLE replays (
    key     bytea NOT NULL,
    expires bigint NOT NULL
) PARTITION BY LIST ((expires / 600 % 4));

-- To empty a partition ends the epoch, except for the sweep, which says so.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION end_replay_epoch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(current_setting('issuer.sweeps', true), '') <> 'on' THEN
        DELETE FROM replay_epoch;
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
DO $$
BEGIN
    FOR i IN 0..3 LOOP
        EXECUTE format('CREATE UNLOGGED TABLE replays_%s PARTITION OF replays (PRIMARY KEY (key)) FOR VALUES IN (%s)', i, i);
        EXECUTE format('CREATE TRIGGER replays_are_truncated AFTER TRUNCATE ON replays_%s '
            'FOR EACH STATEMENT EXECUTE FUNCTION end_replay_epoch()', i);
    END LOOP;
END $$;
-- +goose StatementEnd

INSERT INTO replays (key, expires) SELECT key, expires FROM replays_before;
DROP TABLE replays_before;
