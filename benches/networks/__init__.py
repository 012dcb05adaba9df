"""The same networks, written for each library, with one entry a case.

Each module has ``CASES``: name of a case to a function that takes a seed's `Data` and returns a
callable. One call trains a few steps (or predicts) and returns the last loss, as a float.
"""
