"""Cut the power, over and over: what a deployment's disk may hold then, and what must be there.

``recorder.record`` writes down every effect on the files of a folder while a scenario runs, in
order: those of Python's ``os``, ``syncfs``, and SQLite's own writes, truncations, syncs and
deletions, which are taken at its VFS. ``disks.Disk`` knows which effects are durable. For each
moment right before the next sync it makes disks as they may be when the machine starts again
(``disks.Loss``), and ``replays`` opens the deployment on them, lets it recover, and checks it.

The model is that of POSIX, and weaker than what usual file systems promise:

- A file's bytes and size are durable by fsync of the file, a name by fsync of its folder,
  everything by syncfs. fsync of a new file does not make its name durable.
- What is not synced may be lost, or be there, in any combination; a rename of one name over another
  is atomic, but a name that moved from one folder to another may be in both, or in the old one.
- Unsynced bytes may be lost, be zeros, or be torn between two sectors of 512 bytes.

Not modelled: drives that lie about a flush, damage to what was synced, folders reached by links,
writes through ``mmap`` and through Python's ``open()`` (``record`` tells of these at its end),
lock files and SQLite's ``-shm``, which mean nothing after a restart, and the files of PostgreSQL,
whose own durability is trusted.
"""
