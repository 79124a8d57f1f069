-- How far time has come: one row, once it was noted. What is there already is of some time, too.

-- +goose Up

CREATE TABLE clock (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    newest INTEGER NOT NULL
) STRICT;
INSERT INTO clock (id, newest) SELECT 1, at FROM (SELECT max(at) AS at FROM (
    SELECT max(created_at) AS at FROM signing_keys UNION ALL SELECT max(created_at) FROM users
    UNION ALL SELECT max(created_at) FROM devices UNION ALL SELECT max(rotated_at, created_at) FROM grants
    UNION ALL SELECT max(at) FROM revocations
)) WHERE at IS NOT NULL;
