-- What operators do and ask: replays, dead letters that close, answers given before, and the indexes of their pages.

-- A plan that failed as it arrived has no commands.
ALTER TABLE plans ADD COLUMN planned integer NOT NULL DEFAULT 1;
UPDATE plans SET planned = 0
WHERE state = 'failed' AND NOT EXISTS (SELECT 1 FROM commands AS c WHERE c.plan_id = plans.id);

ALTER TABLE dead_letters
    ADD COLUMN state text COLLATE "C" NOT NULL DEFAULT 'open',
    ADD COLUMN closed_at double precision,
    ADD COLUMN seq bigint GENERATED ALWAYS AS IDENTITY;
CREATE UNIQUE INDEX dead_letters_by_seq ON dead_letters (seq);
-- The records themselves, by their keys: what is known of a person is erased there as well.
CREATE INDEX outbox_of_letters ON outbox ("key") WHERE substr(topic, 1, 4) = 'dlq.';

CREATE TABLE replays (
    id          text COLLATE "C" PRIMARY KEY,
    state       text COLLATE "C" NOT NULL,
    actor       text NOT NULL,
    reason      text NOT NULL,
    selection   text NOT NULL,
    rate        double precision,
    size        integer NOT NULL,
    created_at  double precision NOT NULL,
    changed_at  double precision NOT NULL,
    paced_from  double precision NOT NULL,
    paced_begun integer NOT NULL,
    ended_at    double precision,
    counts      text NOT NULL
);
CREATE INDEX replays_by_age ON replays (created_at, id);
CREATE INDEX replays_unfinished ON replays (created_at, id) WHERE state IN ('running', 'paused');
CREATE INDEX replays_ended ON replays (ended_at, id) WHERE ended_at IS NOT NULL;
CREATE TABLE replay_items (
    replay_id  text COLLATE "C" NOT NULL,
    number     integer NOT NULL,
    plan_id    text COLLATE "C" NOT NULL,
    from_epoch integer NOT NULL,
    state      text COLLATE "C" NOT NULL,
    epoch      integer,
    why        text,
    at         double precision,
    PRIMARY KEY (replay_id, number)
);
CREATE INDEX replay_items_pending ON replay_items (replay_id, number) WHERE state = 'pending';

-- What an act was answered, by its caller and their key.
CREATE TABLE answers (
    idempotency_key text COLLATE "C" PRIMARY KEY,
    digest          text NOT NULL,
    status          integer NOT NULL,
    document        text NOT NULL,
    given_at        double precision NOT NULL
);
CREATE INDEX answers_by_age ON answers (given_at);

-- How pages are found: each in the order of its cursor.
CREATE INDEX events_by_id ON events (id, arrival);
DROP INDEX events_of_subject;
CREATE INDEX events_of_subject ON events (subject, arrival);
DROP INDEX commands_by_state;
CREATE INDEX commands_by_state ON commands (state, id);
-- What stands how is counted from these alone.
DROP INDEX commands_unfinished;
CREATE INDEX commands_unfinished ON commands (operation, state, account, lane, cause)
    WHERE state || '' IN ('pending', 'waiting', 'in_flight', 'in_doubt');
