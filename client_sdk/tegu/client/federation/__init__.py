"""The device's part in a federation.

client_app  the Flower ClientApp
answers     what a device answers to a round, whoever carries the messages
people      the people of a device, and what a round computes over them
updates     training rounds: the sum of this device's users' updates
local_noise noise of the device's own
versions    a bundle that is not the round's: fetched anew, or the device sits out
http        one connection, with bounds
minimums    what a device demands of every round
evaluation  evaluation rounds: sums of metrics over this device's users
"""
