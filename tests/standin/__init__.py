"""A CuPy of NumPy arrays and kernels compiled for the CPU, for tests without a GPU."""
