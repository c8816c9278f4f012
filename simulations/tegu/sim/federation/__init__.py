"""A federation inside this process, and nodes that host many users each.

grid                Flower's Grid: nodes that hold many users, and the replies to a round's messages
many_people         the people of such a node, over whom a round computes in batches
hosts               the folder that such nodes read
host_app            their Flower ClientApp
separate_replies    a reply for each node, and attacks
clocked_grid        nodes that take their time, on a simulated clock
evaluation_round    the users of an evaluation round, and their metrics in batches
"""
