"""Throwing out what is of no use: hand labels and a classifier, blur, darkness, near-duplicates."""
