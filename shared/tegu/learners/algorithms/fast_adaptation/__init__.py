"""Fast adaptation by a black box: a solver or a network, learned as a whole, turns a user's rows into predictions.

`r2d2` fits ridge regression to the support's embeddings, and `snail` reads support and query as one sequence.
`snail_blocks` has the layers of the latter.
"""
