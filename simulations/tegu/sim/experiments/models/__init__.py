"""Models that experiments share.

item_ratings    a factor model of ratings
"""
