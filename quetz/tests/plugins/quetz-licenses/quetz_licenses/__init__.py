"""Remembers the licenses of packages."""
