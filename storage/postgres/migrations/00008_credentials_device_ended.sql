-- The page of a device shows which of its credentials ended last.

-- +goose Up

CREATE INDEX credentials_device_ended ON credentials (domain, device_id, ended_at) WHERE ended_at <> 0;
