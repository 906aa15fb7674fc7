"""The process that owns the services' processes. Standard library only."""
