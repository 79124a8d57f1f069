-- The device by which a user made a statement: it ends with the device.

-- +goose Up

ALTER TABLE statements ADD COLUMN device TEXT NOT NULL DEFAULT '';
