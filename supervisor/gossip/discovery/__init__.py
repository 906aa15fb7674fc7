"""Where the members of a ring may be found: one file for each kind of source, one interface."""
