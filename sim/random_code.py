"""Random Thumb code for the fuzzing campaign: noise, valid instructions, and hostile semihosting.

Valid instructions are drawn so that much of it runs for a while: registers get addresses of
memories, branches stay near, and what ends a run (UDF, BKPT, WFI) is rare.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

_RAM, _PATHS = 0x20000000, ("/etc/passwd", "/tmp/fuzzed", ":tt", "../../x", "")
_EXTREMES = (0, 1, 3, 0x1000, 0x7FFFFFFF, 0x80000000, 0xE000E000, 0xFFFFFFFC, 0xFFFFFFFF)


def noise(random: Random) -> bytes:
    """Random bytes."""
    return random.randbytes(random.randrange(2, 512))


def instructions(random: Random) -> bytes:
    """Valid instructions, of few or of many kinds, behind registers that are addresses."""
    halfwords: list[int] = []
    if random.random() < 0.8:
        for register in range(8):  # movs rN, #0x20; lsls rN, #24; adds rN, #multiple of 4
            halfwords += [0x2020 | register << 8, 0x0600 | register * 9,
                          0x3000 | register << 8 | random.getrandbits(6) << 2]  # fmt: skip
    kinds = random.sample(_KINDS, random.choice((2, 3, 4, 6, len(_KINDS))))
    for _ in range(random.randrange(4, 120)):
        halfwords += random.choice(kinds)(random)
    return b"".join(halfword.to_bytes(2, "little") for halfword in halfwords)


def semihosting(random: Random, address: int) -> bytes:
    """Calls with hostile arguments; the code will lie at `address`, a multiple of 4."""
    code = b""
    for _ in range(random.randrange(1, 6)):
        start = address + len(code)
        path = random.choice(_PATHS).encode()
        operation = random.choice((*range(1, 33), 0x30, 0x31, 0xFF))
        known = [start + 28, len(path), 3, _RAM, random.randrange(16)]
        words = [random.choice((*known, *_EXTREMES, random.getrandbits(32))) for _ in range(3)]
        if random.random() < 0.5:  # as SYS_OPEN, SYS_REMOVE and SYS_RENAME want it
            words = [start + 28, random.randrange(12), len(path)]
        # movs r0, #operation; adr r1, words; bkpt 0xab; b behind; nop; nop; words; path
        text = path.ljust(16, b"\0")
        code += b"".join(
            halfword.to_bytes(2, "little")
            for halfword in (0x2000 | operation, 0xA102, 0xBEAB, 0xE011, 0xBF00, 0xBF00)
        )
        code += b"".join(word.to_bytes(4, "little") for word in words) + b"\0" * 4 + text
    return code + b"\xfe\xe7"


def _low(random: Random) -> int:
    return random.randrange(8)


def _address(random: Random) -> list[int]:
    """A low register becomes an address: movs rN, #top; lsls rN, rN, #24; adds rN, #low."""
    register = _low(random)
    top = random.choice((0x20, 0x20, 0x20, 0x20, 0x08, 0x00, 0x40, 0xE0, 0x9F, 0xFF))
    return [
        0x2000 | register << 8 | top,
        0x0600 | register << 3 | register,
        0x3000 | register << 8 | random.getrandbits(8),
    ]


def _alu(random: Random) -> list[int]:
    return [random.choice((random.randrange(0x4000), 0x4000 | random.getrandbits(10)))]


def _access(random: Random) -> list[int]:
    return [random.randrange(0x5000, 0xA000)]


def _stack(random: Random) -> list[int]:
    push_or_pop = random.choice((0xB400, 0xBC00)) | random.getrandbits(8)
    return [random.choice((push_or_pop, 0xB000 | random.getrandbits(8), 0xC000 | _many(random)))]


def _many(random: Random) -> int:
    return random.getrandbits(12)  # LDM and STM


def _branch(random: Random) -> list[int]:
    near = random.randrange(-8, 24)
    return random.choice(
        (
            [0xD000 | random.randrange(14) << 8 | near & 0xFF],
            [0xE000 | near & 0x7FF],
            [0xB100 | random.choice((0, 0x800)) | random.randrange(16) << 3 | _low(random)],
            [0xF000 | (0x7FF if near < 0 else 0), 0xF800 | near & 0x7FF],
        )
    )


def _jump(random: Random) -> list[int]:
    register = random.randrange(16) << 3
    return [random.choice((0x4700, 0x4780, 0x4687)) | register]


def _it(random: Random) -> list[int]:
    return [0xBF00 | random.randrange(15) << 4 | random.randrange(1, 16)]


def _system(random: Random) -> list[int]:
    return random.choice(
        (
            [0xF3EF, 0x8000 | random.getrandbits(12)],  # MRS
            [0xF380 | random.randrange(16), 0x8000 | random.getrandbits(12)],  # MSR
            [0xF3BF, 0x8F00 | random.randrange(4, 7) << 4 | 15],  # barriers
            [0xB660 | random.getrandbits(5)],  # CPS
            [0xBF00 | random.randrange(8) << 4],  # hints
            [0xDF00 | random.getrandbits(8)],  # SVC
            [0xBE00 | random.getrandbits(8)],  # BKPT
            [0xDE00 | random.getrandbits(8)],  # UDF
        )
    )


def _wide_access(random: Random) -> list[int]:
    return [random.choice((0xE800, 0xE840, 0xE900, 0xF800, 0xF880, 0xF900)) | random.getrandbits(8),
            random.getrandbits(16)]  # fmt: skip


def _wide_alu(random: Random) -> list[int]:
    return [random.choice((0xEA00, 0xEB00, 0xF000, 0xF100, 0xF200, 0xFA00)) | random.getrandbits(8),
            random.getrandbits(15)]  # fmt: skip


def _multiply_or_divide(random: Random) -> list[int]:
    return [0xFB00 | random.getrandbits(8), random.getrandbits(16)]


def _floating_point(random: Random) -> list[int]:
    return [random.choice((0xEC00, 0xED00, 0xEE00, 0xEF00, 0xFE00)) | random.getrandbits(8),
            random.getrandbits(16) & 0xF0FF | 0x0A00]  # fmt: skip


def _enable_fpu(_random: Random) -> list[int]:
    # movs r0, #0xe0; lsls r0, #24; movs r1, #0xed; lsls r1, #8; adds r1, #0x88; adds r0, r1;
    # movs r1, #0xf; lsls r1, #20; str r1, [r0]
    return [0x20E0, 0x0600, 0x21ED, 0x0209, 0x3188, 0x1840, 0x210F, 0x0509, 0x6001]


def _any_narrow(random: Random) -> list[int]:
    return [random.randrange(0xE800)]


def _any_wide(random: Random) -> list[int]:
    return [random.randrange(0xE800, 0x10000), random.getrandbits(16)]


def _rewrite(random: Random) -> list[int]:
    """Code in RAM that changes while it runs: store an instruction, call it, or jump into RAM."""
    # movs r0, #0x20; lsls r0, #24; movs r1, #op; strh r1, [r0]; ldr r2, =bx lr's; strh; blx r0 | 1
    operation = random.choice((0x00, 0x08, 0x40, 0xDE))
    return [0x2020, 0x0600, 0x2100 | operation, 0x0209, 0x8001, 0x2147, 0x0209, 0x3170, 0x8041,
            0x3001, 0x4780]  # fmt: skip


_Kind = Callable[[Random], list[int]]
_KINDS: tuple[_Kind, ...] = (
    *(_address, _address, _access, _access, _access, _alu, _alu, _stack, _branch, _branch, _it),
    *(_wide_access, _wide_access, _wide_alu, _multiply_or_divide, _floating_point, _enable_fpu),
    *(_jump, _system, _any_narrow, _any_wide, _rewrite),
)
