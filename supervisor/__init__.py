"""Run services on this host and carry out changes."""
