"""Populations of users, and the cohorts and trials that are drawn from them.

population            rows of many users, and their split by user into training, calibration and held-out users
population_on_disk    the same, with rows in files that are read when a round needs them
cohort                the users of one round, their episodes, and buckets of users of similar sizes
trials                the support and query draws on which methods are compared
streams               interactions in time order whose targets change at a known time
scaling               means and standard deviations of training users' inputs and targets
"""
