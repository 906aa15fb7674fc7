"""From a plan to a signed package."""
