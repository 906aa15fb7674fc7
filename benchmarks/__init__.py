"""Measurements beside a peer, both sides in one run."""
