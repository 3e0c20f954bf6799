-- The audience of userkit: segments, and the indexes of search and filters.
--
-- What the first file says of itself holds here as well. The extension pg_trgm is
-- a trusted one: who may create objects in the database may create it. Where it is
-- there already, the schema that it is in has to be on search_path, behind that of
-- userkit.

CREATE EXTENSION IF NOT EXISTS pg_trgm;

-- A segment without a rule is a list: its members are in memberships.
CREATE TABLE segments (
    project    text COLLATE "C" NOT NULL,
    id         uuid NOT NULL,
    name       text COLLATE "C" NOT NULL,
    name_key   text COLLATE "C" NOT NULL,
    rule       text COLLATE "C" NOT NULL, -- a filter in its text form; empty: a list
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision   bigint NOT NULL,
    CONSTRAINT segments_pkey PRIMARY KEY (project, id),
    CONSTRAINT segments_name_key UNIQUE (project, name_key)
);

-- Members come and go far less often than users are used, and a segment may go at
-- the moment in which somebody is added to it: so here the foreign keys are worth
-- their price.
CREATE TABLE memberships (
    project    text COLLATE "C" NOT NULL,
    user_id    uuid NOT NULL,
    segment_id uuid NOT NULL,
    CONSTRAINT memberships_pkey PRIMARY KEY (project, user_id, segment_id),
    CONSTRAINT memberships_user_fkey FOREIGN KEY (project, user_id)
        REFERENCES accounts (project, user_id) ON DELETE CASCADE,
    CONSTRAINT memberships_segment_fkey FOREIGN KEY (project, segment_id)
        REFERENCES segments (project, id) ON DELETE CASCADE
);
CREATE INDEX memberships_by_segment ON memberships (project, segment_id, user_id);

-- The two indexes below do not begin with the project. They would cost several
-- times as much to read, since every search would go through the list of all users
-- of the project as well. In a small project the planner reads the project instead.
--
-- The search for parts of texts, by trigrams. Which characters make up words, and
-- so trigrams, is LC_CTYPE of the database to say: under C those of ASCII alone.
-- A search for others is right all the same, but it reads the whole index.
CREATE INDEX users_by_search ON users USING gin (search gin_trgm_ops);

-- Equality of attributes, folded. The condition spares the users without any.
CREATE INDEX users_by_attribute ON users
    USING gin ((coalesce(folded_attributes, attributes)) jsonb_path_ops)
    WHERE attributes IS NOT NULL;

INSERT INTO migrations (name) VALUES ('0002_audience');
