"""Meta-learning algorithms, one paper per module.

`reptile` adapts by gradient steps, `residual_correction` by kernel regression. `item_ratings` and `implicit_als`
are closed forms for ratings and rankings by item id. `combination` holds several learners, and the package `mixture`
several initialisations of one.

Parts of them: `correction_form` (adapting and predicting by correction), `correction_candidates`,
`correction_training`, `shrinkage` and `mixed_outputs`.

`gradient_based`, `learned_optimiser` and `bayesian` hold learners that adapt a module's parameters by steps on the
support: by plain gradient steps, by learned ones, and with several sets of parameters for a user; `by_steps` has what
they share.

`metric` and `fast_adaptation` hold learners that see a row through an embedding; `episodic` has what they share.
"""
