"""The command line: one file a command group.

What a command needs is imported when it runs, so that ``quetz --help`` answers at once.
"""


def main() -> None:
    from quetz.cli.app import app

    app(prog_name="quetz")
