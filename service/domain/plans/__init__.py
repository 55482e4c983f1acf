"""Planning rules, one module per vendor: which steps an event means there."""
