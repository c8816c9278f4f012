"""A federation inside this process.

grid                Flower's Grid: nodes that hold many users, and the replies to a round's messages
separate_replies    a reply for each node, and attacks
clocked_grid        nodes that take their time, on a simulated clock
evaluation_round    the users of an evaluation round, and their metrics in batches
"""
