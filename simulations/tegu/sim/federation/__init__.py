"""A federation inside this process.

grid                Flower's Grid: nodes that hold many users, and the replies to a round's messages
evaluation_round    the users of an evaluation round, and their metrics in batches
"""
