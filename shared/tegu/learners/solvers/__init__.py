"""Closed-form solvers.

ridge           kernel ridge regression with leave-one-out residuals
linear_ridge    ridge regression on a few features, with a penalty for each
"""
