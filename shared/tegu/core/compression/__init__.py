"""Parameters and updates in fewer bytes than float32.

precision          float16 and int8 encodings
error_feedback     packed updates whose rounding errors are added to the next update
stored_parameters  the parameters of a bundle
"""
