"""One room per vendor; rooms never see each other."""
