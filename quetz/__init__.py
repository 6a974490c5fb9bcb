"""A self-hosted server for conda packages."""

__version__ = "0.1.0"
