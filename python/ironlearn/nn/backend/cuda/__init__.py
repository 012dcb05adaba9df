"""The GPU through CuPy: the base operations, with kernels of our own where there are some.

`device` has the GPU itself, `operations` the class of all its operations, one file each family of
them; `kernels` has their source, which `kernel` compiles and launches. CuPy is imported when a GPU
is first asked for.
"""

from ironlearn.nn.backend.cuda.device import CudaDevice, is_available

__all__ = ["CudaDevice", "is_available"]
