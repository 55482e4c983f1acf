-- What the rules of retention look for, by when it was over.
CREATE INDEX plans_ended ON plans (ended_at, id) WHERE state <> 'open';
CREATE INDEX facts_by_age ON facts (received_at, id);
CREATE INDEX dead_letters_by_age ON dead_letters (seen_at);
CREATE INDEX holds_released ON holds (released_at, id) WHERE released_at IS NOT NULL;
CREATE INDEX sessions_ended ON sessions (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX event_digests_by_age ON event_digests (received_at);
