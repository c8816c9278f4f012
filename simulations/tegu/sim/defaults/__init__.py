"""What `simulate` does where nothing is said.

- `choose`: the learner of a population, with a module or without
- `for_module`: how a module is trained and adapts
- `own_labels`: whether labels mean something of their own to every user
- `for_ratings`: ratings by item id, in the training users' units
"""
