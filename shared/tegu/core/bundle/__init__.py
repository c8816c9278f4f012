"""The `.tegu` file.

file      reading, verifying and writing bundles
manifest  the description of a bundle's graphs and arrays
signing   Ed25519 signatures
"""
