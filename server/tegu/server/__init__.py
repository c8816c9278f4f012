"""The server: compiling learners, Flower's strategy, outer optimisers, checkpoints, the ServerApp."""
