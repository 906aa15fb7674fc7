"""What a package is: idents, keys, artifacts, the installed tree, templates and config. Imports no wing."""
