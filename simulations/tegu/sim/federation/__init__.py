"""A federation in this process: nodes that hold many users."""
