"""Methods that a run is compared with, on the same users and supports.

run_baselines     all baselines of a run
tuning            settings chosen for each k
generic           the baselines of any module, and what they start from
calibrated        a run's learner with a schedule of its own
gradient_steps    plain gradient steps
joint             the module trained in one place
module_features   a module's features of the rows of trials
feature_methods   methods that adapt by these features
heads             linear heads on them
neighbours        rows that are near in them
order             what ignoring an order costs, own frequencies, the last choice
"""
