-- On which server, as its timeline, the numbers of revocations and clients are given now. A promoted standby, and a server with a restored
-- state, have another timeline: before they give a number, it jumps.

-- +goose Up

CREATE TABLE history (
    n      integer PRIMARY KEY CHECK (n = 1),
    server text NOT NULL -- empty if none was used yet
);
INSERT INTO history (n, server) VALUES (1, '');
