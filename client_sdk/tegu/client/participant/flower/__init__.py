"""What a SuperNode says to a SuperLink, written anew: nothing here imports flwr, and nothing else knows its formats.

fleet     the calls of Flower's Fleet API
upload    a reply on its way
protobuf  the messages of those calls
objects   a message's content as the objects that cross the network one by one
records   the records of a message, in memory

Flower does not promise these formats. `TRIED` names the versions that they were taken from, and a test compares every
one with the Flower that is installed. Importing Flower's own code instead would take 37 MB of a device's memory.
"""

TRIED = ("1.42.0",)
"""Versions of Flower whose formats these are; the last one is told to the server."""
