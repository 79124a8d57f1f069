-- A hint at the kind of a device, from a closed list; empty for devices from before.

-- +goose Up

ALTER TABLE devices ADD COLUMN platform TEXT NOT NULL DEFAULT '';
ALTER TABLE codes ADD COLUMN platform TEXT NOT NULL DEFAULT '';
