"""Flower's own processes on this machine: started together, asked for results, and stopped to the last one.

environment   variables, TOML files, free ports, where the programs are
namespace     a network namespace that holds loopback alone
family        every process that descends from what was started
local         a SuperLink with SuperNodes, or with Flower's Ray simulation
"""

from tegu.server.deployment.local_flower import FlowerRun, LocalFlower, local_federation, local_simulation

__all__ = ["FlowerRun", "LocalFlower", "local_federation", "local_simulation"]
