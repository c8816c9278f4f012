"""Classical methods to compare with, and which of them suit a population (`for_spec`).

For ratings: item means and user biases (`item_means`), and other ratings by means and covariances (`linear_predictor`).
For rankings, by what they learn from the clicks of training users:

popularity    the same ranking for everybody              als           vectors of items and users
ease          linear item-to-item weights                 naive_bayes   how often two items go together
item_knn      cosines of two items' clicks                clicks        what they share
"""
