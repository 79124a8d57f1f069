-- The tables by which the collision key of a name was made: of another version, they make another key.

-- +goose Up

ALTER TABLE names ADD COLUMN tables TEXT NOT NULL DEFAULT '';
CREATE INDEX names_tables ON names (tables);
