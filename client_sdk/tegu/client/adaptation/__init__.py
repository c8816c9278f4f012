"""Adapting to one user.

model       a bundle with the runtime that runs it
loader      reads, verifies and loads bundles
own_words   names, labels and item ids of the application to rows of the model, and back
inputs      checks what an application passes in
catalogue   stored interactions for a bundle with other items or labels
budget      as many steps as the time budget allows
support     the interactions that a model adapts on, read from the store
evidence    how well adapting works for other users and for this one
typicality  whether the user resembles the calibration users
report      the report of an adaptation
recommend   the best items of a catalogue
"""
