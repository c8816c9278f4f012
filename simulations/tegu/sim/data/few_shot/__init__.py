"""Few-shot tasks: each user has a few classes of its own, whose labels mean nothing to other users.

tasks    populations of N-way tasks over classes, or over the classes of each person
"""
