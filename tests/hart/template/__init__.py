"""Tests of hart.template."""
