"""The harness's lines among whatever else comes down a wire."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebnn.board.protocol import (
    End,
    FirmwareFault,
    GarbledLine,
    ReportReader,
    Sample,
    Start,
    decode_line,
    encode_line,
)

START = "ebnn-harness 1 0123456789abcdef 3 dwt 4 uart stm32f407-discovery@reset"
PASS = [
    encode_line(START),
    encode_line("sample 0 7 7 7 1004 400"),
    encode_line("sample 1 2 2 3 1005 408"),
    encode_line("sample 2 9 8 9 1006 400"),
    encode_line("end 3"),
]
SAMPLES = [
    Sample(0, 7, 7, 7, 1004, 400),
    Sample(1, 2, 2, 3, 1005, 408),
    Sample(2, 9, 8, 9, 1006, 400),
]
# Whatever is no newline: noise that does not end a line, and noise that does.
noise = st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"@"))


def read(data: bytes, step: int = 1000) -> ReportReader:
    reader = ReportReader()
    for at in range(0, len(data), step):
        reader.feed(data[at : at + step])
    return reader


def test_each_line_is_what_the_document_says() -> None:
    assert decode_line(PASS[0].rstrip()) == Start(
        "0123456789abcdef", 3, "dwt", 4, "uart", "stm32f407-discovery@reset"
    )
    assert decode_line(PASS[1].rstrip()) == SAMPLES[0]
    assert decode_line(PASS[4].rstrip()) == End(3)
    assert decode_line(encode_line("fault 0x080001f2")[:-1]) == FirmwareFault(0x080001F2)
    assert decode_line(PASS[1].rstrip() + b"\r") == SAMPLES[0]
    # CRC-32 of "123456789" is the published check value.
    assert encode_line("123456789") == b"@123456789 *cbf43926\n"


@given(step=st.integers(1, 40))
def test_pieces_of_any_length_make_the_same_report(step: int) -> None:
    reader = read(b"".join(PASS), step)
    assert reader.is_over
    assert reader.report.samples == SAMPLES


@settings(max_examples=300)
@given(before=st.lists(noise, min_size=5, max_size=5), step=st.integers(1, 40))
def test_noise_before_lines_and_between_them_is_skipped(before: list[bytes], step: int) -> None:
    glued = b"".join(one + line for one, line in zip(before, PASS, strict=True))
    between = b"".join(one + b"\n" + line for one, line in zip(before, PASS, strict=True))
    for data in (glued, between):
        reader = read(data, step)
        assert reader.report.is_complete
        assert reader.report.samples == SAMPLES


@settings(max_examples=500)
@given(
    places=st.lists(st.integers(0, sum(map(len, PASS)) - 1), min_size=1, max_size=8),
    garbage=st.binary(min_size=8, max_size=8),
    repeats=st.booleans(),
)
def test_damage_never_makes_another_report(
    places: list[int], garbage: bytes, repeats: bool
) -> None:
    damaged = bytearray(b"".join(PASS))
    for place, byte in zip(places, garbage, strict=False):
        damaged[place] = byte
    reader = read(bytes(damaged))
    if reader.report.is_complete:
        assert reader.report.samples == SAMPLES
    else:
        assert reader.why_incomplete()
    if repeats:  # a harness on a UART says it again
        reader.feed(b"\n" + b"".join(PASS))
        assert reader.report.is_complete
        assert reader.report.samples == SAMPLES


@given(st.binary(max_size=3000))
def test_bytes_from_anywhere_never_end_a_report(data: bytes) -> None:
    reader = read(data, 100)
    assert not reader.report.is_complete


def test_lost_lines_are_said_to_be_lost() -> None:
    reader = read(PASS[0] + PASS[1] + PASS[3] + PASS[4])
    assert not reader.is_over
    assert reader.why_incomplete() == "sample 2 came where sample 1 was due: lines were lost"
    reader = read(PASS[0] + PASS[1] + b"@sample 1 2 2 3 1005 408 *00000000\n")
    assert reader.why_incomplete() == "1 of 3 samples came; 1 damaged line on the way"
    assert read(b"").why_incomplete() == "nothing came"
    assert "no harness's first line" in read(b"U-Boot 2019\n").why_incomplete()


def test_a_listener_that_comes_late_takes_the_next_pass() -> None:
    reader = read(PASS[2][5:] + PASS[3] + PASS[4] + b"".join(PASS))
    assert reader.report.samples == SAMPLES
    assert reader.report.is_complete


def test_a_fault_ends_the_report() -> None:
    reader = read(PASS[0] + PASS[1] + encode_line("fault 0x00000100"))
    assert reader.is_over
    assert reader.report.fault == FirmwareFault(0x100)
    assert reader.report.samples == SAMPLES[:1]


@pytest.mark.parametrize(
    "words",
    [
        "ebnn-harness 2 and whatever",
        "ebnn-harness 1 0123456789abcdef 3 dwt 4 uart",
        "ebnn-harness 1 0123456789abcdef 0 dwt 4 uart board",
        "ebnn-harness 1 0123456789ABCDEF 3 dwt 4 uart board",
        "ebnn-harness 1 0123456789abcdef 3 clock 4 uart board",
        "sample 1 2 3",
        "sample 0 1 1 1 -5 4",
        "sample 0 1 1 1 4294967296 4",
        "sample 0 1_0 1 1 1 4",
        "end",
        "hello",
    ],
)
def test_intact_lines_of_another_protocol_are_refused(words: str) -> None:
    with pytest.raises(GarbledLine):
        decode_line(encode_line(words)[:-1])
