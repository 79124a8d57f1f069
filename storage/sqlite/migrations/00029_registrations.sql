-- Clients that registered themselves: with which initial access token, and the hash of the token that manages the registration.

-- +goose Up

ALTER TABLE clients ADD COLUMN registered_with TEXT NOT NULL DEFAULT '';
ALTER TABLE clients ADD COLUMN managed_by BLOB; -- SHA-256

CREATE INDEX clients_registered ON clients (registered_with) WHERE registered_with <> '' AND removed_at = 0;
