"""Fixtures on real databases for every test."""

pytest_plugins = ["quetz.testing.fixtures"]
