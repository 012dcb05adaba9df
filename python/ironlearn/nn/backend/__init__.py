"""Devices and the array operations that networks need.

`Ops` is the definition of every operation, in plain array code; `CpuOps` replaces some by native
kernels, `CudaOps` will do so on a GPU. Nothing above this package knows where it runs.
"""

from ironlearn.nn.backend.device import Device, device_of, get_device

__all__ = ["Device", "device_of", "get_device"]
