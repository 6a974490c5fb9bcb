"""Lets people review the licenses of packages."""
