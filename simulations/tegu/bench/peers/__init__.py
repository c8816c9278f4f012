"""The two sides of a comparison, one file each: Tegu, and those it is compared with.

Every module of a side has

    opened(task, folder)   a context manager that gives a `Ready`: everything loaded, compiled and warm

and runs in a process of its own, see `tegu.bench.harness.worker`.
"""
