"""False users in a simulation: what they send, and what it costs.

attack      the attacks, and which users are false
comparison  a run without attack, the plain mean under attack, and a robust rule under attack
"""
