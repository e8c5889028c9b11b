"""Which optimizer and setting to use: a search within a time, and a test of its answer on seeds it never saw."""
