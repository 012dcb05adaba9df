"""Pure-Python versions of the native functions, with the same signatures.

They define what the fast ones must answer. Nothing imports them at run time.
"""
