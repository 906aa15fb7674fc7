"""Where a plan's sources come from, one file per scheme."""
