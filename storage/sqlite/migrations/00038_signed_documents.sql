-- Documents that users sign with keys of their own: cross signing and profiles. Opinions are found by the user that they are about, in the
-- order of their age for others than their authors, and profiles by their fingerprints.

-- +goose Up

CREATE TABLE signed_documents (
    domain     TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    kind       TEXT NOT NULL,
    key        TEXT NOT NULL,
    seq        INTEGER NOT NULL,
    subject    TEXT NOT NULL,
    public     INTEGER NOT NULL,
    content    TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (domain, user_id, kind, key)
) STRICT;
CREATE INDEX signed_documents_public ON signed_documents (subject, created_at, domain, user_id, key) WHERE public <> 0;
CREATE INDEX signed_documents_subject ON signed_documents (subject, domain, user_id) WHERE subject <> '';
CREATE INDEX signed_documents_profile ON signed_documents (key) WHERE kind = 'profile';
