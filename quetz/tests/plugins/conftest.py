"""The plugins beside this file are projects of their own, with tests of their own."""

collect_ignore_glob = ["quetz-*"]
