-- The ledger's first schema. Times are seconds since the epoch; `order_at` is microseconds. Columns named after JSON
-- hold objects as text. Text sorts by its bytes, whatever the database's own order is, so that cursors mean the same
-- everywhere. Statements that run all day use the partial indexes.

CREATE TABLE events (
    source      text COLLATE "C" NOT NULL,
    id          text COLLATE "C" NOT NULL,
    type        text NOT NULL,
    digest      text NOT NULL,
    subject     text COLLATE "C" NOT NULL,
    topic       text NOT NULL,
    "partition" integer NOT NULL,
    "offset"    bigint NOT NULL,
    received_at double precision NOT NULL,
    data        text NOT NULL,
    arrival     bigint NOT NULL UNIQUE,
    PRIMARY KEY (source, id)
);
CREATE INDEX events_of_subject ON events (subject);
CREATE INDEX events_by_age ON events (received_at);

-- What stays when an event has been erased: enough to know it again and to keep its place in the order.
CREATE TABLE event_digests (
    event_hash     text COLLATE "C" PRIMARY KEY,
    digest         text NOT NULL,
    arrival        bigint NOT NULL UNIQUE,
    received_at    double precision NOT NULL,
    order_source   text,
    order_revision bigint,
    order_at       bigint
);

CREATE TABLE plans (
    id             text COLLATE "C" PRIMARY KEY,
    epoch          integer NOT NULL,
    state          text COLLATE "C" NOT NULL,
    event_source   text NOT NULL,
    event_id       text NOT NULL,
    event_type     text NOT NULL,
    event_time     text,
    event_key      bytea,
    event_subject  text,
    topic          text NOT NULL,
    "partition"    integer NOT NULL,
    "offset"       bigint NOT NULL,
    correlation_id text NOT NULL,
    traceparent    text,
    subject        text COLLATE "C" NOT NULL,
    account        text COLLATE "C",
    order_source   text NOT NULL,
    order_revision bigint,
    order_at       bigint NOT NULL,
    arrival        bigint NOT NULL,
    effective_at   double precision,
    created_at     double precision NOT NULL,
    ended_at       double precision,
    waiting_told   integer NOT NULL,
    failure        text
);
CREATE INDEX plans_open ON plans (subject) WHERE state = 'open';
CREATE INDEX plans_of_subject ON plans (subject, id);
CREATE INDEX plans_of_event ON plans (event_source, event_id);
CREATE INDEX plans_by_state ON plans (state, id);

-- `live` is true while the command is unfinished or its plan is open: what intake and claims have to look at.
CREATE TABLE commands (
    id             text COLLATE "C" PRIMARY KEY,
    plan_id        text COLLATE "C" NOT NULL REFERENCES plans (id),
    epoch          integer NOT NULL,
    step           text NOT NULL,
    step_no        integer NOT NULL,
    account        text COLLATE "C" NOT NULL,
    operation      text COLLATE "C" NOT NULL,
    quota_group    text COLLATE "C" NOT NULL,
    subject        text COLLATE "C" NOT NULL,
    resource       text COLLATE "C" NOT NULL,
    wanted         text NOT NULL,
    lane           text COLLATE "C" NOT NULL,
    state          text COLLATE "C" NOT NULL,
    order_source   text NOT NULL,
    order_revision bigint,
    order_at       bigint NOT NULL,
    arrival        bigint NOT NULL,
    created_at     double precision NOT NULL,
    cause          text,
    effective_at   double precision,
    due_at         double precision,
    owner          bigint,
    attempts       integer NOT NULL,
    retries        integer NOT NULL,
    first_at       double precision,
    last_at        double precision,
    ended_at       double precision,
    queue_seconds  double precision NOT NULL,
    quota_seconds  double precision NOT NULL,
    vendor_seconds double precision NOT NULL,
    result         text,
    facts          text NOT NULL,
    failure        text,
    traceparent    text,
    absent_at      double precision,
    claims         integer NOT NULL,
    live           boolean NOT NULL
);
CREATE INDEX commands_due ON commands (quota_group, operation, lane, account, due_at, arrival, step_no)
    WHERE due_at IS NOT NULL AND owner IS NULL AND state IN ('pending', 'waiting', 'in_doubt');
CREATE INDEX commands_claimed ON commands (owner) WHERE owner IS NOT NULL AND state IN ('pending', 'waiting', 'in_doubt');
CREATE INDEX commands_in_flight ON commands (owner) WHERE state = 'in_flight';
CREATE INDEX commands_unfinished ON commands (operation, state)
    WHERE state IN ('pending', 'waiting', 'in_flight', 'in_doubt');
CREATE INDEX commands_live_of_subject ON commands (subject) WHERE live;
CREATE INDEX commands_live_of_resource ON commands (resource) WHERE live;
CREATE INDEX commands_of_plan ON commands (plan_id, step_no);
CREATE INDEX commands_of_subject ON commands (subject, id);
CREATE INDEX commands_of_resource ON commands (resource, id);
CREATE INDEX commands_by_state ON commands (state, operation, id);

CREATE TABLE attempts (
    command_id text COLLATE "C" NOT NULL REFERENCES commands (id),
    epoch      integer NOT NULL,
    number     integer NOT NULL,
    call       text NOT NULL,
    slot_at    double precision,
    marked_at  double precision NOT NULL,
    ended_at   double precision,
    outcome    text,
    code       text,
    request_id text,
    PRIMARY KEY (command_id, epoch, number)
);

CREATE TABLE history (
    seq        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    command_id text COLLATE "C" NOT NULL REFERENCES commands (id),
    epoch      integer NOT NULL,
    at         double precision NOT NULL,
    before     text,
    after      text NOT NULL,
    cause      text NOT NULL,
    actor      text NOT NULL
);
CREATE INDEX history_of_command ON history (command_id, seq);

-- One held binding per resource; released ones stay as a record.
CREATE TABLE bindings (
    subject     text COLLATE "C" NOT NULL,
    generation  integer NOT NULL,
    resource    text COLLATE "C" NOT NULL,
    account     text NOT NULL,
    state       text NOT NULL,
    plan_id     text COLLATE "C" NOT NULL,
    applied     text,
    applied_at  bigint,
    revisions   text NOT NULL,
    create_sent integer NOT NULL,
    updated_at  double precision NOT NULL,
    PRIMARY KEY (subject, generation)
);
CREATE UNIQUE INDEX bindings_held ON bindings (resource) WHERE state <> 'released';

CREATE TABLE facts (
    id          text COLLATE "C" PRIMARY KEY,
    subject     text COLLATE "C" NOT NULL,
    kind        text NOT NULL,
    apply_id    text,
    reason      text,
    received_at double precision NOT NULL,
    taken_by    text
);
CREATE INDEX facts_waiting ON facts (subject) WHERE taken_by IS NULL;

-- `owner` is the session that wrote the message: it publishes it, or whoever takes over when that session has ended.
CREATE TABLE outbox (
    seq          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           text COLLATE "C" NOT NULL UNIQUE,
    topic        text NOT NULL,
    "key"        bytea,
    value        bytea,
    headers      text NOT NULL,
    order_by     text COLLATE "C" NOT NULL,
    created_at   double precision NOT NULL,
    published_at double precision,
    owner        bigint
);
CREATE INDEX outbox_unpublished ON outbox (seq) WHERE published_at IS NULL;
CREATE INDEX outbox_in_line ON outbox (order_by, seq) WHERE published_at IS NULL;
CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL;

CREATE TABLE dead_letters (
    topic       text NOT NULL,
    "partition" integer NOT NULL,
    "offset"    bigint NOT NULL,
    reason      text NOT NULL,
    field       text,
    message     text NOT NULL,
    size        integer NOT NULL,
    digest      text NOT NULL,
    seen_at     double precision NOT NULL,
    PRIMARY KEY (topic, "partition", "offset", digest)
);

-- Times by this server's clock. A session whose time is over is ended by whoever notices first.
CREATE TABLE sessions (
    fence      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner      text NOT NULL,
    started_at double precision NOT NULL,
    ended_at   double precision,
    expires_at double precision NOT NULL
);
CREATE INDEX sessions_open ON sessions (owner) WHERE ended_at IS NULL;

-- A quota is as many tokens as a window may hold sends; a token is lent to a session, and used once in any window.
CREATE TABLE quota_tokens (
    quota_group text COLLATE "C" NOT NULL,
    operation   text COLLATE "C" NOT NULL,
    number      integer NOT NULL,
    free_at     double precision NOT NULL,
    owner       bigint,
    until       double precision NOT NULL,
    PRIMARY KEY (quota_group, operation, number)
) WITH (fillfactor = 50);
CREATE TABLE quota_asks (
    quota_group text COLLATE "C" NOT NULL,
    operation   text COLLATE "C" NOT NULL,
    owner       bigint NOT NULL,
    wanted      integer NOT NULL,
    asked_at    double precision NOT NULL,
    PRIMARY KEY (quota_group, operation, owner)
);

-- What a person has changed while the fleet runs; a rate that is NULL is the configured one.
CREATE TABLE quota_rates (
    quota_group text COLLATE "C" NOT NULL,
    operation   text COLLATE "C" NOT NULL,
    rate        double precision CHECK (rate > 0),
    changed_at  double precision NOT NULL,
    actor       text NOT NULL,
    reason      text NOT NULL,
    PRIMARY KEY (quota_group, operation)
);

-- A row without released_at stops every command that matches all of its scopes that are set, except its probe.
CREATE TABLE holds (
    id          text COLLATE "C" PRIMARY KEY,
    kind        text NOT NULL CHECK (kind IN ('hold', 'quarantine')),
    account     text,
    operation   text,
    subject     text,
    resource    text,
    reason      text NOT NULL,
    actor       text NOT NULL,
    created_at  double precision NOT NULL,
    released_at double precision,
    probe       text
);
CREATE INDEX holds_standing ON holds (account, operation) WHERE released_at IS NULL;

CREATE TABLE acts (
    seq    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     double precision NOT NULL,
    actor  text NOT NULL,
    kind   text NOT NULL,
    object text NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL
);
CREATE FUNCTION acts_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'acts are append-only';
END
$$;
CREATE TRIGGER acts_are_never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON acts
    FOR EACH STATEMENT EXECUTE FUNCTION acts_are_append_only();
