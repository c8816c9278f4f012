"""`tegu bench soak`: a federation on this machine whose devices and whose server are killed at random.

soak     the run
server   `tegu serve`, and the processes that it has started
devices  apps with a store and a participant, all in this process
faults   what is done to them
report   what came of it
"""
