"""The durable store of one user's interactions and personal state.

store      the store that `Personalizer` uses
schema     the tables of the store
database   the SQLite file: transactions, locking, errors
row_bytes  rows as bytes
"""
