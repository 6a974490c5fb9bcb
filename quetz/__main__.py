"""``python -m quetz`` is the command ``quetz``."""

from quetz.cli import main

if __name__ == "__main__":  # a spawned server process imports this module again
    main()
