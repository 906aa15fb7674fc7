"""The holder, module by module, and as a process among real ones."""
