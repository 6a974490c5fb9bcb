"""Run the campaign, print one line a goal, and write them into benchmarks/README.md."""

import sys

from benchmarks.campaigns import Goal, run_goals
from benchmarks.crash import (
    backing,
    blind,
    faults,
    histories,
    kills,
    machine,
    power,
    readers,
    seeded,
)

GOALS: dict[str, Goal] = {
    "rel2": kills.measure,
    "rel3": blind.measure,
    "rel4": faults.measure,
    "histories": histories.measure,
    "machine": machine.measure,
    "rel13": readers.measure,
    "rel26": power.measure,
    "rel28": backing.measure,
    "rel30": seeded.measure,
}


if __name__ == "__main__":
    sys.exit(run_goals("crash", __doc__, GOALS))
