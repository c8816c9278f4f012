"""What `TorchRuntime` runs.

gradient_steps     gradient steps on a module, with any optimiser
learner_functions  a learner's own functions
errors             what torch raises, as an error of a runtime
"""
