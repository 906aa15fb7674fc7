"""The ring: membership, records and how they spread. Cores without I/O, and one driver."""
