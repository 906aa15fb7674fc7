"""Tests; packages at every level so that no test folder shadows a real one."""
