"""Training in simulation.

in_process          a plan's rounds in this process
on_ray              a plan's rounds on Flower's Ray simulation
cross_fitting       the folds of a population, and training once for each of them
running_statistics  the statistics of BatchNorm layers, estimated again by training users
"""
