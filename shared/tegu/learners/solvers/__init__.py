"""Closed-form solvers: `ridge`, kernel ridge regression with leave-one-out residuals."""
