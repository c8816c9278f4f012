"""The command line: one command a file, `main` the way in."""
