"""A federation inside this process.

grid                Flower's Grid: nodes that hold many users, and the replies to a round's messages
separate_replies    a reply for each node, and attacks
evaluation_round    the users of an evaluation round, and their metrics in batches
"""
