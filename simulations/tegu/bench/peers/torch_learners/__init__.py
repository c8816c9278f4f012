"""The learners of the field written directly in torch with `vmap`, without the framework.

task          the rows of a task, and the network
by_gradients  those that take gradient steps on the support
by_examples   those that compare rows with the support, or read it
training      a loop of rounds

Each loss is that of one task with N classes: a function of the parameters, by the learner's own names, and of the
task's `Rows`. The network is `build_network`: two hidden layers with ReLU.
"""
