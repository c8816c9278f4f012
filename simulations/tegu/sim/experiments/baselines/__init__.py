"""Classical methods to compare with.

for_spec      which of them suit a population             item_means    item means and user biases for ratings

For rankings, by what they learn from the clicks of training users:

popularity    the same ranking for everybody              als           vectors of items and users
ease          linear item-to-item weights                 naive_bayes   how often two items go together
item_knn      cosines of two items' clicks                clicks        what they share
"""
