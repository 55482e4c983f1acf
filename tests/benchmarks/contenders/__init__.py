"""The contenders: each makes the same two calls to the vendor for every hire, as its own documentation advises."""
