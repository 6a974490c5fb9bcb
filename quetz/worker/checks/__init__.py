"""The checks of ``quetz fsck``: one function for each invariant, which yields what breaks it."""
