-- What operators do and ask: replays, dead letters that close, answers given before, quotas changed by a person,
-- and how many commands and plans stand how, so that nobody who asks has them counted.

-- A plan that failed as it arrived has no commands.
ALTER TABLE plans ADD COLUMN planned INTEGER NOT NULL DEFAULT 1;
UPDATE plans SET planned = 0
WHERE state = 'failed' AND NOT EXISTS (SELECT 1 FROM commands AS c WHERE c.plan_id = plans.id);

-- Made anew: pages of dead letters go by `seq`, which must outlast a VACUUM.
CREATE TABLE letters (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    topic       TEXT NOT NULL,
    "partition" INTEGER NOT NULL,
    "offset"    INTEGER NOT NULL,
    reason      TEXT NOT NULL,
    field       TEXT,
    message     TEXT NOT NULL,
    size        INTEGER NOT NULL,
    digest      TEXT NOT NULL,
    seen_at     REAL NOT NULL,
    state       TEXT NOT NULL DEFAULT 'open',
    closed_at   REAL,
    UNIQUE (topic, "partition", "offset", digest)
) STRICT;
INSERT INTO letters (topic, "partition", "offset", reason, field, message, size, digest, seen_at)
SELECT topic, "partition", "offset", reason, field, message, size, digest, seen_at FROM dead_letters ORDER BY rowid;
DROP TABLE dead_letters;
ALTER TABLE letters RENAME TO dead_letters;
CREATE INDEX dead_letters_by_age ON dead_letters (seen_at);
-- The records themselves, by their keys: what is known of a person is erased there as well.
CREATE INDEX outbox_of_letters ON outbox ("key") WHERE substr(topic, 1, 4) = 'dlq.';

CREATE TABLE replays (
    id          TEXT PRIMARY KEY,
    state       TEXT NOT NULL,
    actor       TEXT NOT NULL,
    reason      TEXT NOT NULL,
    selection   TEXT NOT NULL,
    rate        REAL,
    size        INTEGER NOT NULL,
    created_at  REAL NOT NULL,
    changed_at  REAL NOT NULL,
    paced_from  REAL NOT NULL,
    paced_begun INTEGER NOT NULL,
    ended_at    REAL,
    counts      TEXT NOT NULL
) STRICT;
CREATE INDEX replays_by_age ON replays (created_at, id);
CREATE INDEX replays_unfinished ON replays (created_at, id) WHERE state IN ('running', 'paused');
CREATE INDEX replays_ended ON replays (ended_at, id) WHERE ended_at IS NOT NULL;
CREATE TABLE replay_items (
    replay_id  TEXT NOT NULL,
    number     INTEGER NOT NULL,
    plan_id    TEXT NOT NULL,
    from_epoch INTEGER NOT NULL,
    state      TEXT NOT NULL,
    epoch      INTEGER,
    why        TEXT,
    at         REAL,
    PRIMARY KEY (replay_id, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX replay_items_pending ON replay_items (replay_id, number) WHERE state = 'pending';

-- What an act was answered, by its caller and their key.
CREATE TABLE answers (
    idempotency_key TEXT PRIMARY KEY,
    digest          TEXT NOT NULL,
    status          INTEGER NOT NULL,
    document        TEXT NOT NULL,
    given_at        REAL NOT NULL
) STRICT;
CREATE INDEX answers_by_age ON answers (given_at);

-- What a person has changed while the service runs; a rate that is NULL is the configured one.
CREATE TABLE quota_rates (
    quota_group TEXT NOT NULL,
    operation   TEXT NOT NULL,
    rate        REAL CHECK (rate > 0),
    changed_at  REAL NOT NULL,
    actor       TEXT NOT NULL,
    reason      TEXT NOT NULL,
    PRIMARY KEY (quota_group, operation)
) STRICT, WITHOUT ROWID;

-- How pages are found: each in the order of its cursor.
CREATE INDEX events_by_id ON events (id, arrival);
DROP INDEX events_of_subject;
CREATE INDEX events_of_subject ON events (subject, arrival);
DROP INDEX commands_by_state;
CREATE INDEX commands_by_state ON commands (state, id);

-- How many stand alike. Class, code and times are of what has failed. A row that comes to 0 goes; until then
-- its times only spread. (Of SQLite's JSON only `json_each` is trusted in a trigger, by every version.)
CREATE TABLE tallies (
    kind        TEXT NOT NULL,
    account     TEXT NOT NULL,
    operation   TEXT NOT NULL,
    lane        TEXT NOT NULL,
    state       TEXT NOT NULL,
    cause       TEXT NOT NULL,
    error_class TEXT NOT NULL,
    code        TEXT NOT NULL,
    number      INTEGER NOT NULL,
    first_at    REAL,
    last_at     REAL,
    PRIMARY KEY (kind, account, operation, lane, state, cause, error_class, code)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER tallies_of_nothing_go AFTER UPDATE OF number ON tallies WHEN NEW.number = 0
BEGIN
    DELETE FROM tallies
    WHERE (kind, account, operation, lane, state, cause, error_class, code)
        = (NEW.kind, NEW.account, NEW.operation, NEW.lane, NEW.state, NEW.cause, NEW.error_class, NEW.code);
END;

INSERT INTO tallies
SELECT 'command', account, operation, lane, state, coalesce(cause, ''),
    coalesce(iif(state = 'failed', (
        SELECT value FROM json_each(failure) AS f WHERE f.key = 'error_class'
    ), ''), ''),
    coalesce(iif(state = 'failed', (
        SELECT value FROM json_each(failure) AS f WHERE f.key = 'code'
    ), ''), ''),
    count(*), min(iif(state = 'failed', ended_at, NULL)), max(iif(state = 'failed', ended_at, NULL))
FROM commands GROUP BY 1, 2, 3, 4, 5, 6, 7, 8;
CREATE TRIGGER commands_are_counted AFTER INSERT ON commands
BEGIN
    INSERT INTO tallies VALUES (
        'command', NEW.account, NEW.operation, NEW.lane, NEW.state, coalesce(NEW.cause, ''),
        coalesce(iif(NEW.state = 'failed', (
            SELECT value FROM json_each(NEW.failure) AS f WHERE f.key = 'error_class'
        ), ''), ''),
        coalesce(iif(NEW.state = 'failed', (
            SELECT value FROM json_each(NEW.failure) AS f WHERE f.key = 'code'
        ), ''), ''),
        1, iif(NEW.state = 'failed', NEW.ended_at, NULL), iif(NEW.state = 'failed', NEW.ended_at, NULL)
    ) ON CONFLICT DO UPDATE SET
        number = number + 1,
        first_at = coalesce(min(first_at, excluded.first_at), first_at, excluded.first_at),
        last_at = coalesce(max(last_at, excluded.last_at), last_at, excluded.last_at);
END;
CREATE TRIGGER commands_are_counted_anew
AFTER UPDATE OF account, operation, lane, state, cause, failure, ended_at ON commands
WHEN (OLD.account, OLD.operation, OLD.lane, OLD.state, OLD.cause)
    IS NOT (NEW.account, NEW.operation, NEW.lane, NEW.state, NEW.cause)
    OR (NEW.state = 'failed' AND (OLD.failure, OLD.ended_at) IS NOT (NEW.failure, NEW.ended_at))
BEGIN
    UPDATE tallies SET number = number - 1
    WHERE (kind, account, operation, lane, state, cause, error_class, code) = (
        'command', OLD.account, OLD.operation, OLD.lane, OLD.state, coalesce(OLD.cause, ''),
        coalesce(iif(OLD.state = 'failed', (
            SELECT value FROM json_each(OLD.failure) AS f WHERE f.key = 'error_class'
        ), ''), ''),
        coalesce(iif(OLD.state = 'failed', (
            SELECT value FROM json_each(OLD.failure) AS f WHERE f.key = 'code'
        ), ''), '')
    );
    INSERT INTO tallies VALUES (
        'command', NEW.account, NEW.operation, NEW.lane, NEW.state, coalesce(NEW.cause, ''),
        coalesce(iif(NEW.state = 'failed', (
            SELECT value FROM json_each(NEW.failure) AS f WHERE f.key = 'error_class'
        ), ''), ''),
        coalesce(iif(NEW.state = 'failed', (
            SELECT value FROM json_each(NEW.failure) AS f WHERE f.key = 'code'
        ), ''), ''),
        1, iif(NEW.state = 'failed', NEW.ended_at, NULL), iif(NEW.state = 'failed', NEW.ended_at, NULL)
    ) ON CONFLICT DO UPDATE SET
        number = number + 1,
        first_at = coalesce(min(first_at, excluded.first_at), first_at, excluded.first_at),
        last_at = coalesce(max(last_at, excluded.last_at), last_at, excluded.last_at);
END;
CREATE TRIGGER commands_are_no_longer_counted AFTER DELETE ON commands
BEGIN
    UPDATE tallies SET number = number - 1
    WHERE (kind, account, operation, lane, state, cause, error_class, code) = (
        'command', OLD.account, OLD.operation, OLD.lane, OLD.state, coalesce(OLD.cause, ''),
        coalesce(iif(OLD.state = 'failed', (
            SELECT value FROM json_each(OLD.failure) AS f WHERE f.key = 'error_class'
        ), ''), ''),
        coalesce(iif(OLD.state = 'failed', (
            SELECT value FROM json_each(OLD.failure) AS f WHERE f.key = 'code'
        ), ''), '')
    );
END;

INSERT INTO tallies
SELECT 'plan', coalesce(account, ''), iif(state = 'failed' AND planned = 0, 'planning', ''),
    '', state, '',
    coalesce(iif(state = 'failed', (
        SELECT value FROM json_each(failure) AS f WHERE f.key = 'error_class'
    ), ''), ''),
    coalesce(iif(state = 'failed', (
        SELECT value FROM json_each(failure) AS f WHERE f.key = 'code'
    ), ''), ''),
    count(*), min(iif(state = 'failed', ended_at, NULL)), max(iif(state = 'failed', ended_at, NULL))
FROM plans GROUP BY 1, 2, 3, 4, 5, 6, 7, 8;
CREATE TRIGGER plans_are_counted AFTER INSERT ON plans
BEGIN
    INSERT INTO tallies VALUES (
        'plan', coalesce(NEW.account, ''), iif(NEW.state = 'failed' AND NEW.planned = 0, 'planning', ''),
        '', NEW.state, '',
        coalesce(iif(NEW.state = 'failed', (
            SELECT value FROM json_each(NEW.failure) AS f WHERE f.key = 'error_class'
        ), ''), ''),
        coalesce(iif(NEW.state = 'failed', (
            SELECT value FROM json_each(NEW.failure) AS f WHERE f.key = 'code'
        ), ''), ''),
        1, iif(NEW.state = 'failed', NEW.ended_at, NULL), iif(NEW.state = 'failed', NEW.ended_at, NULL)
    ) ON CONFLICT DO UPDATE SET
        number = number + 1,
        first_at = coalesce(min(first_at, excluded.first_at), first_at, excluded.first_at),
        last_at = coalesce(max(last_at, excluded.last_at), last_at, excluded.last_at);
END;
CREATE TRIGGER plans_are_counted_anew
AFTER UPDATE OF account, state, planned, failure, ended_at ON plans
WHEN (OLD.account, OLD.state, OLD.planned)
    IS NOT (NEW.account, NEW.state, NEW.planned)
    OR (NEW.state = 'failed' AND (OLD.failure, OLD.ended_at) IS NOT (NEW.failure, NEW.ended_at))
BEGIN
    UPDATE tallies SET number = number - 1
    WHERE (kind, account, operation, lane, state, cause, error_class, code) = (
        'plan', coalesce(OLD.account, ''), iif(OLD.state = 'failed' AND OLD.planned = 0, 'planning', ''),
        '', OLD.state, '',
        coalesce(iif(OLD.state = 'failed', (
            SELECT value FROM json_each(OLD.failure) AS f WHERE f.key = 'error_class'
        ), ''), ''),
        coalesce(iif(OLD.state = 'failed', (
            SELECT value FROM json_each(OLD.failure) AS f WHERE f.key = 'code'
        ), ''), '')
    );
    INSERT INTO tallies VALUES (
        'plan', coalesce(NEW.account, ''), iif(NEW.state = 'failed' AND NEW.planned = 0, 'planning', ''),
        '', NEW.state, '',
        coalesce(iif(NEW.state = 'failed', (
            SELECT value FROM json_each(NEW.failure) AS f WHERE f.key = 'error_class'
        ), ''), ''),
        coalesce(iif(NEW.state = 'failed', (
            SELECT value FROM json_each(NEW.failure) AS f WHERE f.key = 'code'
        ), ''), ''),
        1, iif(NEW.state = 'failed', NEW.ended_at, NULL), iif(NEW.state = 'failed', NEW.ended_at, NULL)
    ) ON CONFLICT DO UPDATE SET
        number = number + 1,
        first_at = coalesce(min(first_at, excluded.first_at), first_at, excluded.first_at),
        last_at = coalesce(max(last_at, excluded.last_at), last_at, excluded.last_at);
END;
CREATE TRIGGER plans_are_no_longer_counted AFTER DELETE ON plans
BEGIN
    UPDATE tallies SET number = number - 1
    WHERE (kind, account, operation, lane, state, cause, error_class, code) = (
        'plan', coalesce(OLD.account, ''), iif(OLD.state = 'failed' AND OLD.planned = 0, 'planning', ''),
        '', OLD.state, '',
        coalesce(iif(OLD.state = 'failed', (
            SELECT value FROM json_each(OLD.failure) AS f WHERE f.key = 'error_class'
        ), ''), ''),
        coalesce(iif(OLD.state = 'failed', (
            SELECT value FROM json_each(OLD.failure) AS f WHERE f.key = 'code'
        ), ''), '')
    );
END;
