"""The tests of quetz for migrations of a plugin, and its fixtures on real databases."""

pytest_plugins = ["quetz.testing.migrations"]
