"""Kills of a real server or command at named points, under load, and what has to hold after.

A plugin's own crash points can be reached in the same way: `crash_at_each` takes a table of
`Scenario`. `points.list_points` lists the points of a folder of sources.
"""

from quetz.testing.crashes.driver import CHANNEL, CrashFailure, Driver, create_deployment
from quetz.testing.crashes.points import list_points
from quetz.testing.crashes.scenarios import SCENARIOS, Scenario, crash_at_each, points_of

__all__ = [
    "CHANNEL",
    "SCENARIOS",
    "CrashFailure",
    "Driver",
    "Scenario",
    "crash_at_each",
    "create_deployment",
    "list_points",
    "points_of",
]
