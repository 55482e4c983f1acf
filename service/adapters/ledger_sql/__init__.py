"""What both ledgers in SQL share: rows, holds, wake-ups, migrations."""
