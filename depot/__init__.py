"""Publish, promote and fetch packages over HTTP: the server and its client."""
