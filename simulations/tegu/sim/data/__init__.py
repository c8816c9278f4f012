"""Populations of users, and the cohorts and trials that are drawn from them.

population            rows of many users, and their split by user into training, calibration and held-out users
population_on_disk    the same, with rows in files that are read when a round needs them
few_shot/             N-way tasks over classes
row_groups            rows grouped by user
guess_rows            the spec of arrays that come without one
guess_kind            what targets are for
given_names           names of features and titles of items beside arrays
table                 rows and encoding of a table
table_inputs          its features
table_targets         its targets
table_file            a table from a CSV or Parquet file
cohort                the users of one round, their episodes, and buckets of users of similar sizes
trials                the support and query draws on which methods are compared
streams               interactions in time order whose targets change at a known time
scaling               means and standard deviations of training users' inputs and targets
"""
