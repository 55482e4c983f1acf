"""Both vendors' stand-in: strict, faulty on demand, with a journal; shares no code with the vendor rooms."""
