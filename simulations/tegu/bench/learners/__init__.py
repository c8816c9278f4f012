"""`tegu bench learners`: every learner on the same tasks, one process for each, so that a stopped run goes on.

tasks    the experiments, and the numbers of interactions that mean one and five shots
measure  one learner on one task, as a program of its own
bench    all of them, with what was measured before
figure   the table and the plot
"""
