-- How often a command was claimed: an outcome that is written twice finds that its claim is over.
ALTER TABLE commands ADD COLUMN claims INTEGER NOT NULL DEFAULT 0;

-- Nobody asks for the next due time any more: claims look every second.
DROP INDEX commands_next_due;
