"""The `.tegu` file.

archive   the zip that it is
file      reading, verifying and writing bundles
manifest  the description of a bundle's graphs and arrays
shown     what a schedule entry says about harm
signing   Ed25519 signatures
version   which bundles may train together
key_file  a private key in a file
"""
