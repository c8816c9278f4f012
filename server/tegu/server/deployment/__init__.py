"""Flower's own processes on this machine: they are started together, run the app, and are all stopped at the end.

- `local_flower`: a SuperLink with SuperNodes, or with Flower's Ray simulation
- `process_group`: processes with a common folder, environment and end
- `process_tree`: finding and stopping all descendants of a process group
- `network_namespace`: a network namespace with only loopback
- `environment`: environment variables, TOML files, free ports, paths of Flower's programs
"""

from tegu.server.deployment.local_flower import FlowerRun, LocalFlower, local_federation, local_simulation

__all__ = ["FlowerRun", "LocalFlower", "local_federation", "local_simulation"]
