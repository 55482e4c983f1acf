-- How many stand how is reckoned from what a transaction writes, once for all of it: a trigger for each row cost as much
-- as the row itself. What is deleted is counted by the triggers as before.
DROP TRIGGER commands_are_counted;
DROP TRIGGER commands_are_counted_anew;
DROP TRIGGER plans_are_counted;
DROP TRIGGER plans_are_counted_anew;
