"""Metric learners: a row is compared with a user's examples, in a space that is learned for it.

`prototypical_networks`, `matching_networks` and `relation_networks` follow one paper each. `label_scores` turns what
they find into log-probabilities, `prototypes` has the mean embedding of each label, and `full_context` the recurrent
networks that embed rows in the context of the whole support.

The initialisation does not depend on the number of labels. A population whose users label different things (classes
drawn anew for each task) can therefore train with more labels than devices will have ("higher way", Snell et al.
2017): build the learner for a spec with as many labels as a training task has, and again from the same module, with
the trained parameters, for the spec of the devices.
"""
