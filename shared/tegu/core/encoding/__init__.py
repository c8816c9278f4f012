"""How raw columns, labels and item ids become a model's rows, and come back in the user's own words.

values     raw cells as numbers, booleans, dates or words
words      levels, labels and item ids: their order, their codes, and the nearest known one
column     one feature or target: what it is and how it is encoded
fit        what a column is, from the training data
rows       raw columns to float32 rows and back
delimited  text files: their delimiter and decimal mark
tables     data frames, mappings and lists of mappings as columns by name
labels     labels and item ids as codes
encoding   all of it together, as the manifest holds it

Training and device run the same code. It needs numpy alone; data frames are read by what they can do, not by type.
"""
