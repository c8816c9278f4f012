"""How the server selects the knobs for each number of interactions, from sums over calibration users.

limits          the limits on harm that an owner sets
figures         gains and harm of candidates, and their partial pooling over k
binomial        exact confidence bounds on a share
enough_people   whether enough users calibrate to show a limit at all
path            the proposing users' half: a path of candidates from gentle to strong
fixed_sequence  the testing users' half: how far along the path harm is shown to be within the limit
choice          the candidate for one k
over_k          one schedule for all k
frontier        what other limits would allow
strict          the rule of risk="strict": nobody may lose more than one query row's worth
"""
