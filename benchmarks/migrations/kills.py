"""MIG-1: a process that dies at any moment leaves a whole state, and the next one goes on."""

import random
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.migrations.databases import Databases, applied_once, state_of
from benchmarks.migrations.nursery import Nursery, Order
from benchmarks.migrations.starts import Start, check, init_db, make_start

RANDOM_KILLS = 100  # for each kind of database
AT_STATEMENTS = 120  # at most, as far apart as that takes
KILLED = -9


def measure(databases: Databases, nursery: Nursery, folder: Path) -> list[Figure]:
    start = make_start(databases, nursery, folder)
    whole = databases.deployment(folder / "whole", start.template)
    [ended] = nursery.run(Order(init_db(whole)))
    check([ended])
    apart = -(-ended.statements // AT_STATEMENTS)
    orders = [(number, None) for number in range(1, ended.statements + 1, apart)]
    chance = random.Random(1)
    moments = [(None, chance.uniform(0, ended.seconds)) for _ in range(RANDOM_KILLS)]
    faults: list[str] = []
    killed = 0
    for kill_after, kill_in in [*orders, *moments]:
        deployment = databases.deployment(folder / "killed", start.template)
        order = Order(init_db(deployment), kill_after=kill_after, kill_in=kill_in)
        [ended] = nursery.run(order)
        killed += ended.code == KILLED
        fault = _fault(start, deployment, nursery)
        if fault:
            faults.append(f"killed after {kill_after} statements, {kill_in} s: {fault}")
            print(faults[-1], flush=True)
    basis = f"{killed} kills: {len(orders)} after each {apart}. statement, {RANDOM_KILLS} at random"
    name = f"MIG-1 {databases.kind}: states neither old nor whole, or not mended by init-db"
    return [Figure(name, [len(faults)], "faults", 0, basis)]


def _fault(start: Start, deployment: Path, nursery: Nursery) -> str | None:
    """Say what is wrong with what a kill left, or with the run after it."""
    whole = start.states
    if start.databases.kind == "SQLite":  # all pending revisions are one transaction
        whole = [whole[0], whole[-1]]
    if state_of(deployment) not in whole:
        return "the state is not a whole one"
    [ended] = nursery.run(Order(init_db(deployment)))
    if ended.code != 0:
        return f"the next init-db ended with {ended.code}: {ended.output}"
    if state_of(deployment) != start.states[-1]:
        return "the next init-db left another state than an undisturbed one"
    if not applied_once(deployment):
        return "the ledger has a revision twice"
    return None
