"""Meta-learning algorithms, one paper per module.

`reptile` adapts by gradient steps, `residual_correction` by closed-form regression, and the package `mixture` trains
several initialisations of either.
"""
