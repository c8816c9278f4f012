"""Classical methods that experiments compare with.

ease          linear item-to-item model for rankings      item_means    item means and user biases for ratings
linear_predictor    ratings from other ratings, by means and covariances
"""
