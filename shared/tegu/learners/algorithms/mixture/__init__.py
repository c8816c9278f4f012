"""Several initialisations of one learner in one bundle, for populations with several kinds of users.

`mixture` is the learner, `responsibility` assigns users to initialisations, and `guarded_correction` combines the
mixture with residual correction.
"""
