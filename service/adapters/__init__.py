"""One technology per module; they translate and decide nothing."""
