"""Methods that a run is compared with, on the same users and supports.

run_baselines   all baselines of a run                    tuning          settings chosen for each k
order           what ignoring an order costs, own frequencies, the last choice
"""
