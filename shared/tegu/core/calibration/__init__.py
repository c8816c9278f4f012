"""Calibration: how the server chooses a bundle's schedule from users' metrics.

The server sends candidate knobs, devices reply with sums of metrics over their users, and the server selects.

assignment           which users calibrate and take no part in training
evaluation_request   what an evaluation round sends and receives
evaluate_candidates  the device's half: metrics of candidates, summed over its users
harm                 what counts as harm: material losses, and losses beside gains
query_noise          what few query rows do to squared gains
guard                how far to trust a correction; outputs between initialisation and correction
selection            which candidates are selected, and what is shown about their harm
nonconformity        how badly a user's rows fit the initialisation
conformal            p-values of that
normal_cdf           the normal distribution
"""
