"""Handwritten characters of many alphabets, for few-shot classification.

archive     drawings from the official archives
alphabets   which characters train, calibrate and are held out
distortion  distorted copies of the drawings that train
experiment  the experiment
runs        the official one-shot runs
pixels      the nearest drawing, pixel by pixel
recipes     how each learner is trained
network     the network that is trained
"""
