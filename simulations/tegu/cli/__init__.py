"""The command line. `main` is the entry point, and each command has a file of its own."""
