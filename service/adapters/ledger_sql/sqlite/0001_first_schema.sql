-- The ledger's first schema. Times are seconds since the epoch (REAL); `order_at` is microseconds (INTEGER).
-- Columns named after JSON hold objects as text. Statements that run all day use the partial indexes.

CREATE TABLE events (
    source      TEXT NOT NULL,
    id          TEXT NOT NULL,
    type        TEXT NOT NULL,
    digest      TEXT NOT NULL,
    subject     TEXT NOT NULL,
    topic       TEXT NOT NULL,
    "partition" INTEGER NOT NULL,
    "offset"    INTEGER NOT NULL,
    received_at REAL NOT NULL,
    data        TEXT NOT NULL,
    arrival     INTEGER NOT NULL UNIQUE,
    PRIMARY KEY (source, id)
) STRICT;
CREATE INDEX events_of_subject ON events (subject);
CREATE INDEX events_by_age ON events (received_at);

-- What stays when an event has been erased: enough to know it again and to keep its place in the order.
CREATE TABLE event_digests (
    event_hash     TEXT PRIMARY KEY,
    digest         TEXT NOT NULL,
    arrival        INTEGER NOT NULL UNIQUE,
    received_at    REAL NOT NULL,
    order_source   TEXT,
    order_revision INTEGER,
    order_at       INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE plans (
    id             TEXT PRIMARY KEY,
    epoch          INTEGER NOT NULL,
    state          TEXT NOT NULL,
    event_source   TEXT NOT NULL,
    event_id       TEXT NOT NULL,
    event_type     TEXT NOT NULL,
    event_time     TEXT,
    event_key      BLOB,
    event_subject  TEXT,
    topic          TEXT NOT NULL,
    "partition"    INTEGER NOT NULL,
    "offset"       INTEGER NOT NULL,
    correlation_id TEXT NOT NULL,
    traceparent    TEXT,
    subject        TEXT NOT NULL,
    account        TEXT,
    order_source   TEXT NOT NULL,
    order_revision INTEGER,
    order_at       INTEGER NOT NULL,
    arrival        INTEGER NOT NULL,
    effective_at   REAL,
    created_at     REAL NOT NULL,
    ended_at       REAL,
    waiting_told   INTEGER NOT NULL,
    failure        TEXT
) STRICT;
CREATE INDEX plans_open ON plans (subject) WHERE state = 'open';
CREATE INDEX plans_of_subject ON plans (subject, id);
CREATE INDEX plans_of_event ON plans (event_source, event_id);
CREATE INDEX plans_by_state ON plans (state, id);

-- `live` is 1 while the command is unfinished or its plan is open: what intake and claims have to look at.
CREATE TABLE commands (
    id             TEXT PRIMARY KEY,
    plan_id        TEXT NOT NULL REFERENCES plans (id),
    epoch          INTEGER NOT NULL,
    step           TEXT NOT NULL,
    step_no        INTEGER NOT NULL,
    account        TEXT NOT NULL,
    operation      TEXT NOT NULL,
    quota_group    TEXT NOT NULL,
    subject        TEXT NOT NULL,
    resource       TEXT NOT NULL,
    wanted         TEXT NOT NULL,
    lane           TEXT NOT NULL,
    state          TEXT NOT NULL,
    order_source   TEXT NOT NULL,
    order_revision INTEGER,
    order_at       INTEGER NOT NULL,
    arrival        INTEGER NOT NULL,
    created_at     REAL NOT NULL,
    cause          TEXT,
    effective_at   REAL,
    due_at         REAL,
    owner          INTEGER,
    attempts       INTEGER NOT NULL,
    retries        INTEGER NOT NULL,
    first_at       REAL,
    last_at        REAL,
    ended_at       REAL,
    queue_seconds  REAL NOT NULL,
    quota_seconds  REAL NOT NULL,
    vendor_seconds REAL NOT NULL,
    result         TEXT,
    facts          TEXT NOT NULL,
    failure        TEXT,
    traceparent    TEXT,
    absent_at      REAL,
    live           INTEGER NOT NULL
) STRICT;
CREATE INDEX commands_due ON commands (quota_group, operation, lane, account, due_at, arrival, step_no)
    WHERE due_at IS NOT NULL AND owner IS NULL AND state IN ('pending', 'waiting', 'in_doubt');
CREATE INDEX commands_next_due ON commands (due_at)
    WHERE due_at IS NOT NULL AND owner IS NULL AND state IN ('pending', 'waiting', 'in_doubt');
CREATE INDEX commands_claimed ON commands (owner) WHERE owner IS NOT NULL AND state IN ('pending', 'waiting', 'in_doubt');
CREATE INDEX commands_in_flight ON commands (owner) WHERE state = 'in_flight';
CREATE INDEX commands_live_of_subject ON commands (subject) WHERE live = 1;
CREATE INDEX commands_live_of_resource ON commands (resource) WHERE live = 1;
CREATE INDEX commands_of_plan ON commands (plan_id, step_no);
CREATE INDEX commands_of_subject ON commands (subject, id);
CREATE INDEX commands_of_resource ON commands (resource, id);
CREATE INDEX commands_by_state ON commands (state, operation, id);

CREATE TABLE attempts (
    command_id TEXT NOT NULL REFERENCES commands (id),
    epoch      INTEGER NOT NULL,
    number     INTEGER NOT NULL,
    call       TEXT NOT NULL,
    slot_at    REAL,
    marked_at  REAL NOT NULL,
    ended_at   REAL,
    outcome    TEXT,
    code       TEXT,
    request_id TEXT,
    PRIMARY KEY (command_id, epoch, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE history (
    seq        INTEGER PRIMARY KEY,
    command_id TEXT NOT NULL REFERENCES commands (id),
    epoch      INTEGER NOT NULL,
    at         REAL NOT NULL,
    before     TEXT,
    after      TEXT NOT NULL,
    cause      TEXT NOT NULL,
    actor      TEXT NOT NULL
) STRICT;
CREATE INDEX history_of_command ON history (command_id, seq);

-- One held binding per resource; released ones stay as a record.
CREATE TABLE bindings (
    subject     TEXT NOT NULL,
    generation  INTEGER NOT NULL,
    resource    TEXT NOT NULL,
    account     TEXT NOT NULL,
    state       TEXT NOT NULL,
    plan_id     TEXT NOT NULL,
    applied     TEXT,
    applied_at  INTEGER,
    revisions   TEXT NOT NULL,
    create_sent INTEGER NOT NULL,
    updated_at  REAL NOT NULL,
    PRIMARY KEY (subject, generation)
) STRICT;
CREATE UNIQUE INDEX bindings_held ON bindings (resource) WHERE state <> 'released';

CREATE TABLE facts (
    id          TEXT PRIMARY KEY,
    subject     TEXT NOT NULL,
    kind        TEXT NOT NULL,
    apply_id    TEXT,
    reason      TEXT,
    received_at REAL NOT NULL,
    taken_by    TEXT
) STRICT;
CREATE INDEX facts_waiting ON facts (subject) WHERE taken_by IS NULL;

CREATE TABLE outbox (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT NOT NULL UNIQUE,
    topic        TEXT NOT NULL,
    "key"        BLOB,
    value        BLOB,
    headers      TEXT NOT NULL,
    order_by     TEXT NOT NULL,
    created_at   REAL NOT NULL,
    published_at REAL
) STRICT;
CREATE INDEX outbox_unpublished ON outbox (seq) WHERE published_at IS NULL;
CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL;

CREATE TABLE dead_letters (
    topic       TEXT NOT NULL,
    "partition" INTEGER NOT NULL,
    "offset"    INTEGER NOT NULL,
    reason      TEXT NOT NULL,
    field       TEXT,
    message     TEXT NOT NULL,
    size        INTEGER NOT NULL,
    digest      TEXT NOT NULL,
    seen_at     REAL NOT NULL,
    PRIMARY KEY (topic, "partition", "offset", digest)
) STRICT;

-- `expires_at` is for ledgers that several processes share; a file has one owner at a time.
CREATE TABLE sessions (
    fence      INTEGER PRIMARY KEY AUTOINCREMENT,
    owner      TEXT NOT NULL,
    started_at REAL NOT NULL,
    ended_at   REAL,
    expires_at REAL
) STRICT;

CREATE TABLE quota_slots (
    quota_group TEXT NOT NULL,
    operation   TEXT NOT NULL,
    next_at     REAL NOT NULL,
    changed_at  REAL,
    actor       TEXT,
    reason      TEXT,
    PRIMARY KEY (quota_group, operation)
) STRICT, WITHOUT ROWID;

-- A row without released_at stops every command that matches all of its scopes that are set, except its probe.
CREATE TABLE holds (
    id          TEXT PRIMARY KEY,
    kind        TEXT NOT NULL CHECK (kind IN ('hold', 'quarantine')),
    account     TEXT,
    operation   TEXT,
    subject     TEXT,
    resource    TEXT,
    reason      TEXT NOT NULL,
    actor       TEXT NOT NULL,
    created_at  REAL NOT NULL,
    released_at REAL,
    probe       TEXT
) STRICT;
CREATE INDEX holds_standing ON holds (account, operation) WHERE released_at IS NULL;

CREATE TABLE acts (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    at     REAL NOT NULL,
    actor  TEXT NOT NULL,
    kind   TEXT NOT NULL,
    object TEXT NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE TRIGGER acts_are_never_changed BEFORE UPDATE ON acts
BEGIN
    SELECT RAISE(ABORT, 'acts are append-only');
END;
CREATE TRIGGER acts_are_never_deleted BEFORE DELETE ON acts
BEGIN
    SELECT RAISE(ABORT, 'acts are append-only');
END;
