"""The boot stage that the flash of some chips begins with: a board's [boot_stage]."""

from __future__ import annotations

from dataclasses import dataclass

CRC32_MPEG2 = "crc32-mpeg2"
CHECKSUMS = (CRC32_MPEG2,)
# Armv7-M ARM B3.2.5: a vector table starts on a power of two of at least its size, and the largest
# has 496 entries. 256 bytes fit RP2040's 42, and are all that its boot ROM leaves.
STEP_BYTES = 256


@dataclass(frozen=True)
class BootStage:
    """Code that the chip runs before the firmware whose vector table lies behind it.

    Attributes:
        source: its assembly or C file, all of it in the section `.boot_stage`: a file of the
            toolchain, or an absolute path.
        size_bytes: how much flash it takes, the checksum included.
        checksum: the algorithm of the last four bytes, over all before them, little-endian; None
            where the chip wants none.
    """

    source: str
    size_bytes: int
    checksum: str | None = None
