"""The durable store of one user's interactions and personal state.

store         the store that `Personalizer` uses
interactions  what the store tells an application about its interactions
ids           the ids of interactions
append        new rows and the stored ones that have their ids
reading       rows of a store, verified
owner         whether a store belongs to a model
catalogue     specs that differ in their catalogue or their labels alone
columns       how raw columns became rows, as a digest
records       the records of a store, and their checksums
schema        the tables of the store
migration     from schema 1 to schema 2
database      the SQLite file: transactions, locking, errors
group_commit  writes of several threads in one transaction
row_bytes     rows as bytes
damage        what goes wrong with a store's file, and its repair
"""
