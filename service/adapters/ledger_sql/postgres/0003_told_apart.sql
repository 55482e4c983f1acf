-- Partial indexes whose conditions are told apart. While the statistics are of an hour with nothing to do, every index of
-- what is unfinished or live seems empty, and one is as good as another to the planner: with a backlog since then, the
-- wrong one is read as a whole for each row. So each statement states the condition of the one index that it is to use.
DROP INDEX commands_unfinished;
CREATE INDEX commands_unfinished ON commands (operation, state)
    WHERE state || '' IN ('pending', 'waiting', 'in_flight', 'in_doubt');
DROP INDEX commands_live_of_resource;
CREATE INDEX commands_live_of_resource ON commands (resource) WHERE live::integer = 1;
DROP INDEX plans_open;
CREATE INDEX plans_open ON plans (subject) WHERE state || '' = 'open';
DROP INDEX outbox_in_line;
CREATE INDEX outbox_in_line ON outbox (order_by, seq) WHERE coalesce(published_at, -1) = -1;
