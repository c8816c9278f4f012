"""Classical methods to compare with.

for_spec      which of them suit a population             popularity    the same ranking for everybody
ease          linear item-to-item model for rankings      item_means    item means and user biases for ratings
linear_predictor    ratings from other ratings, by means and covariances
"""
