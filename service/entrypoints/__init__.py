"""Ways in: worker, HTTP API, command line, demo."""
