"""Parsers for the command line: CSV files, public keys, memory sizes."""
