"""Texts of users: which a database can store, and how many characters they may have."""

import re

# JSON and login providers may hold what a database refuses: NUL, and halves of surrogate pairs.
UNSTORABLE = re.compile("[\0\ud800-\udfff]")

CHANNEL_DESCRIPTION_LENGTH = 300
KEY_DESCRIPTION_LENGTH = 1000
YANK_REASON_LENGTH = 1000
PACKAGE_DESCRIPTION_LENGTH = 1 << 16  # as info/about.json may say it
METADATA_TEXT_LENGTH = 100

METADATA_LENGTH = 1000
"""How many texts one list of a channel's metadata may have; audit events hold them all."""
