"""Algorithms that learn how to take steps, and not only where to start.

`meta_sgd` learns a step size for every entry, `t_net` layers that transform gradients, and `lstm_meta_learner` an LSTM
whose cell state is the parameters.
"""
