"""Builds the simulator's optional native engine; everything else is in pyproject.toml.

The extension is a plain shared library that Python loads with ctypes. Without a compiler the
installation succeeds all the same and the pure Python path counts the same cycles, slower.
"""

from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError


class BuildEngine(build_ext):
    """Warnings are errors, but a compiler that warns of more than ours still gets an engine."""

    def build_extension(self, ext):
        try:
            super().build_extension(ext)
        except CompileError as error:
            print(f"note: {error}: trying again without -Werror")
            ext.extra_compile_args.remove("-Werror")
            super().build_extension(ext)


setup(
    cmdclass={"build_ext": BuildEngine},
    ext_modules=[
        Extension(
            "ebnn.sim._engine",
            sorted(map(str, Path().glob("sim/*.c"))),
            extra_compile_args=["-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror"],
            depends=sorted(map(str, Path().glob("sim/*.h"))),
            optional=True,
        )
    ],
)
