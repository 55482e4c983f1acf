-- What is unfinished, by age: for the figure that says how old the oldest of each kind is.
CREATE INDEX commands_oldest ON commands (account, lane, state, created_at)
    WHERE state IN ('pending', 'waiting', 'in_flight', 'in_doubt');
