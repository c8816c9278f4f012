"""False users in a simulation.

attack  the attacks, which users are false, and what they send
"""
