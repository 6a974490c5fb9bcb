"""What folders hold, to compare before and after, and may refuse."""

import ctypes


def tree(folder):
    """Return what a folder holds: the content by relative path, None for a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def obey_permissions():
    """Let root's next program be denied what a file's mode denies (capabilities(7))."""
    pr_capbset_drop, cap_dac_override = 24, 1
    ctypes.CDLL(None).prctl(pr_capbset_drop, cap_dac_override)
