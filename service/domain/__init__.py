"""Words and rules: pure and synchronous; no I/O, clock, randomness or logging."""
