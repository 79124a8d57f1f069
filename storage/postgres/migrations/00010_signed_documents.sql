-- Documents that users sign with keys of their own: cross signing and profiles. Opinions are found by the user that they are about, in the
-- order of their age for others than their authors, and profiles by their fingerprints.

-- +goose Up

CREATE TABLE signed_documents (
    domain     text COLLATE "C" NOT NULL,
    user_id    text COLLATE "C" NOT NULL,
    kind       text COLLATE "C" NOT NULL,
    key        text COLLATE "C" NOT NULL,
    seq        bigint NOT NULL,
    subject    text COLLATE "C" NOT NULL,
    public     boolean NOT NULL,
    content    text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    changed_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (domain, user_id, kind, key)
);
CREATE INDEX signed_documents_public ON signed_documents (subject, created_at, domain, user_id, key) WHERE public;
CREATE INDEX signed_documents_subject ON signed_documents (subject, domain, user_id) WHERE subject <> '';
CREATE INDEX signed_documents_profile ON signed_documents (key) WHERE kind = 'profile';
