"""The forms of an index: when they change, and whether they say what the database says."""
