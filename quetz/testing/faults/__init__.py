"""Faults on demand: stores and databases that fail at the call a test names, as real ones do."""

from quetz.testing.faults.databases import DatabaseFault, FaultyDatabase
from quetz.testing.faults.stores import FaultyStore, StoreFault

__all__ = ["DatabaseFault", "FaultyDatabase", "FaultyStore", "StoreFault"]
