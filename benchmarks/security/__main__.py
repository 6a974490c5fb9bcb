"""Run the campaign, print one line a goal, and write them into benchmarks/README.md."""

import sys

from benchmarks.campaigns import Goal, run_goals
from benchmarks.security import (
    bodies,
    bombs,
    canaries,
    cardinality,
    crowds,
    floods,
    malformed,
    matrix,
    memory,
    openapi,
    pages,
    paths,
    races,
    revocation,
    timing,
)

GOALS: dict[str, Goal] = {
    "rel1": malformed.measure,
    "rel5": matrix.measure,
    "rel6": openapi.measure,
    "rel7": paths.measure,
    "rel8": bombs.measure,
    "rel9": memory.measure,
    "rel10": bodies.measure,
    "rel11": races.measure,
    "rel12": crowds.measure,
    "rel18": canaries.measure,
    "rel19": pages.measure,
    "rel21": revocation.measure,
    "rel22": timing.measure,
    "rel23": cardinality.measure,
    "rel24": floods.measure,
}


if __name__ == "__main__":
    sys.exit(run_goals("security", __doc__, GOALS))
