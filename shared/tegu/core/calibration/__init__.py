"""How a schedule is found: what the server asks, what a device answers, and what is made of the answers.

roles       who calibrates, and so takes no part in training     blend      between initialisation and correction
question    what an evaluation round asks and gets               criterion  which way to adapt is chosen
answer      the device's half: sums of figures over its users    normal     the normal law
"""
