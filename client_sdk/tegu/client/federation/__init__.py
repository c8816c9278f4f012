"""The device's part in a federation.

client_app  the Flower ClientApp
updates     training rounds: the sum of this device's users' updates
local_noise noise of the device's own
minimums    what a device demands of every round
evaluation  evaluation rounds: sums of metrics over this device's users
"""
