"""Differential privacy that needs numpy alone, for devices and servers.

gaussian  the epsilon of noised answers
line      what a training has spent, in one line
noise     Gaussian noise, from the operating system or from a seed
"""
