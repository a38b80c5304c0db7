"""One command per measurement; every file here is a command and answers ``--help``."""
