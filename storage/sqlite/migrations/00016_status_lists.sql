-- Token Status Lists. The number of an entry is the id of its list times 2^20, plus its index; 0 for none. 3900000 milliseconds are
-- storage.StatusGrace.

-- +goose Up

CREATE TABLE status_lists (
    id         INTEGER PRIMARY KEY, -- random
    domain     TEXT NOT NULL,
    seed       BLOB NOT NULL,
    size       INTEGER NOT NULL,
    available  INTEGER NOT NULL,
    used       INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL
) STRICT;

CREATE TABLE ended_statuses (
    entry      INTEGER PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX ended_statuses_expires ON ended_statuses (expires_at);

ALTER TABLE grants ADD COLUMN status INTEGER NOT NULL DEFAULT 0;

-- However a grant ends, its entry does. A refresh does not write ended_at, so that it does not come here.
-- +goose StatementBegin
CREATE TRIGGER grants_status AFTER UPDATE OF ended_at ON grants WHEN OLD.ended_at = 0 AND NEW.ended_at <> 0 AND NEW.status <> 0
BEGIN
    INSERT OR REPLACE INTO ended_statuses (entry, expires_at) VALUES (NEW.status, NEW.ended_at + 3900000);
END;
-- +goose StatementEnd

-- Where the tokens of a user end and the grants do not, the grants lose their entries.
-- +goose StatementBegin
CREATE TRIGGER revocations_status AFTER INSERT ON revocations WHEN NEW.kind = 'gen'
BEGIN
    INSERT OR REPLACE INTO ended_statuses (entry, expires_at)
        SELECT status, NEW.at + 3900000 FROM grants
        WHERE domain = substr(NEW.key, 1, instr(NEW.key, '/') - 1) AND user_id = substr(NEW.key, instr(NEW.key, '/') + 1)
            AND ended_at = 0 AND status <> 0;
    UPDATE grants SET status = 0
        WHERE domain = substr(NEW.key, 1, instr(NEW.key, '/') - 1) AND user_id = substr(NEW.key, instr(NEW.key, '/') + 1)
            AND ended_at = 0 AND status <> 0;
END;
-- +goose StatementEnd
