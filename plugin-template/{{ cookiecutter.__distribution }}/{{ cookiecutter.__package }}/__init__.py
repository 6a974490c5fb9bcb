"""A plugin of quetz."""
