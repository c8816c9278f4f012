"""The implementations that benchmarks compare, one file each: Tegu's own and its peers'.

Every module that a worker runs has

    prepare_task(task, folder)   a context manager that yields a `PreparedTask`: loaded, compiled and warm

and runs in a process of its own, see `tegu.bench.harness.worker`.
"""
