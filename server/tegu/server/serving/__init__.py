"""A federation that one file describes: `tegu certificates`, `tegu serve`, `tegu join`, `tegu nodes`, `tegu status`.

settings      the federation's file, environment variables that override it, and the checks
certificates  a certificate authority, the server's certificate, the nodes' keys
security      what is allowed without TLS, and which certificate a server may use
gate          the SuperLink as a program that lets other machines reach Flower's Fleet API alone
object_store  the SuperLink's store of objects, in which contents decide and not announcements
control       Flower's Control API: nodes and runs
processes     processes that are started again with back-off and jitter
server        what a server needs, read and checked
superlink     the server's processes
serve         the server
join          a node
trackers      the figures of every round for TensorBoard and MLflow
follow        a run's journal in words
status        what a run does now
"""
