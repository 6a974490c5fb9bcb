"""Programs that tests start as clients, each in a process and a home folder of its own."""
