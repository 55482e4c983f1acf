-- How often a command was claimed: an outcome that is written twice finds that its claim is over.
ALTER TABLE commands ADD COLUMN claims INTEGER NOT NULL DEFAULT 0;
