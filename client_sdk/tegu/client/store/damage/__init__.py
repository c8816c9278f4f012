"""What goes wrong with a store's file.

faults    what an error of SQLite means, and what to do about it
loss      what a damaged store has lost, in words
presence  whether the files are still those that were opened
pages     the records in a file's pages, read without SQLite
repair    a new store from the intact records of a damaged one
"""
