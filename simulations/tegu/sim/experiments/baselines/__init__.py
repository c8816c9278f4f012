"""Classical methods to compare with.

for_spec      which of them suit a population             popularity    the same ranking for everybody
ease          linear item-to-item model for rankings      item_means    item means and user biases for ratings
brand_choice  a logit of choices with own frequencies and the last choice
linear_predictor    ratings from other ratings, by means and covariances
"""
