"""Client-level differential privacy. The unit is one person.

plan         the settings
combination  settings that exclude each other
accountant   the epsilon of rounds, and the noise that an epsilon takes
account      what a run has spent, in a file that survives it
central      noise on the sum of a round, and the rounds that an epsilon allows
run          the noise and the account of a training
statement    what was protected, in words
"""
