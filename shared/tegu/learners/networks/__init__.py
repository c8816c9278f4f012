"""Networks that are made for a spec, and networks that embed rows.

module_of_spec  the module for features, pictures, windows, ids and several inputs
input_encoders  the first layers for one input
embedding       a module as an embedding network: rows to vectors
"""
