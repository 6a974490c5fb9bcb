"""The testing kit: fixtures, factories and real packages, for quetz and for its plugins."""
