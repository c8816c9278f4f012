"""Calibration in simulation, in batches of users.

calibrate           the schedule: how to adapt for each number of interactions
conformal_losses    calibration users' losses under the initialisation, for the p-values of devices
"""
