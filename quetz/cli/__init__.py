"""The command line: one file a command group.

What a command needs is imported when it runs, so that ``quetz --help`` answers at once.
"""

import gc

# Objects made between two searches for garbage. With Python's own number, 700 or 2000, a tenth of
# the time of a short command goes into searching what it imports, where none is.
OBJECTS = 20_000


def main() -> None:
    gc.set_threshold(OBJECTS)
    from quetz.cli.app import app

    app(prog_name="quetz")
