"""Binarized neural networks on microcontrollers: train, lower to C, prove in an emulator.

Importing this package imports neither torch nor the emulator; take what you need from
`ebnn.layers`, `ebnn.lowering`, `ebnn.sim` and `ebnn.toolchain`.
"""

__version__ = "0.1.0"
