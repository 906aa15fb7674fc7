"""The ring's simulator: production cores, virtual time, seeded faults, checkers that stand apart."""
