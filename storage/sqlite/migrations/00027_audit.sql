-- The audit log: a chain of records for each node, and signed heads of the chains. A record does not change, but for the erasure of
-- its private part, and is removed only below a signed head.

-- +goose Up

CREATE TABLE audit (
    node    TEXT NOT NULL,
    seq     INTEGER NOT NULL,
    hash    BLOB NOT NULL,
    record  TEXT NOT NULL,
    private BLOB,
    at      INTEGER NOT NULL,
    domain  TEXT NOT NULL,
    user_id TEXT NOT NULL,
    PRIMARY KEY (node, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_user ON audit (domain, user_id) WHERE user_id <> '';

CREATE TABLE audit_heads (
    node  TEXT NOT NULL,
    seq   INTEGER NOT NULL,
    at    INTEGER NOT NULL,
    token TEXT NOT NULL,
    PRIMARY KEY (node, seq)
) STRICT, WITHOUT ROWID;

-- +goose StatementBegin
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE OF node, seq, hash, record, at, domain, user_id ON audit
BEGIN
    SELECT RAISE(ABORT, 'a record of the audit log does not change');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_private_is_only_erased BEFORE UPDATE OF private ON audit WHEN NEW.private IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'the private part of a record of the audit log is only erased');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_is_removed_below_a_head BEFORE DELETE ON audit
    WHEN NOT EXISTS (SELECT 1 FROM audit_heads WHERE node = OLD.node AND seq >= OLD.seq)
BEGIN
    SELECT RAISE(ABORT, 'a record of the audit log is removed only below a signed head');
END;
-- +goose StatementEnd
