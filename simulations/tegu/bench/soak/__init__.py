"""`tegu bench soak`: a federation on this machine whose devices and whose server are killed at random.

soak     the run
server   `tegu serve`, and the processes that it has started
start    the bundle to start from
devices  apps with a store and a participant, all in this process
vandal   a device that answers as it likes, for example with numbers that are not finite
replies  what devices have sent, against the server's journal
faults   what is done to them
report   what came of it
"""
