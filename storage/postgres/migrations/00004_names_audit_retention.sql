-- Former names are found by the time of their release, and of each audit chain it is known up to which record the values beside the records
-- were erased because of their age.

-- +goose Up

CREATE INDEX names_released ON names (released_at) WHERE released_at <> 0;

CREATE TABLE audit_erased (
    node text PRIMARY KEY,
    seq  bigint NOT NULL
);
