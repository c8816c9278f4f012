"""How a round ends: whom to ask, how long to wait, and which answers count.

reply_plan        the settings
clock             the time, which a simulation replaces
closing           when a round has enough answers
reliability       who has failed, and how long a node sits out for it
selection         whom to ask
waiting           until enough nodes are connected
mailbox           messages on their way, and whose they are
gather            the answers to one question, with lost ones asked for again
forwarding_grid   a grid that does what another one does
non_blocking_grid a grid that waits for no upload
patient_grid      a grid that gathers answers so, for evaluation rounds
synchronous       rounds in which all nodes train the same parameters
buffered          asynchronous rounds, after FedBuff
staleness         what their answers count for
found             what a round has brought
"""
