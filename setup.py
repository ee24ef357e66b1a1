"""Builds the simulator's optional native engine; everything else is in pyproject.toml.

The extension is a plain shared library that Python loads with ctypes. Without a compiler the
installation succeeds all the same and the pure Python path counts the same cycles, slower.
"""

from pathlib import Path

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "ebnn.sim._engine",
            sorted(map(str, Path().glob("sim/*.c"))),
            extra_compile_args=["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror"],
            depends=sorted(map(str, Path().glob("sim/*.h"))),
            optional=True,
        )
    ]
)
