"""A library as an Arduino library, by the Arduino library specification, format 1.5 (rev. 2.2)."""

from __future__ import annotations

from ebnn import __version__
from ebnn.emitter.archive import source_tree, zipped
from ebnn.emitter.library import Library
from ebnn.emitter.model import Model
from ebnn.sim.errors import UserError

_LONGEST_FOLDER = 63
_EXAMPLE = "Classify"
# Boards' cores for Cortex-M.
_ARCHITECTURES = (
    "samd,sam,mbed,mbed_nano,mbed_rp2040,mbed_portenta,mbed_nicla,mbed_giga,mbed_opta,"
    "renesas_uno,renesas_portenta,rp2040,stm32,nrf52"
)
_PAPER = "https://arxiv.org/abs/1709.02260"


def arduino_library(library: Library) -> bytes:
    """A zip for the IDE's "Add .ZIP Library"; the same models, the same bytes.

    Raises `UserError` where the names are too long for a folder of a library, or hide Arduino.h,
    or where the lowering is not for an IDE.
    """
    if len(library.name) > _LONGEST_FOLDER:
        raise UserError(
            f"{library.name}: an Arduino library's name has at most {_LONGEST_FOLDER} characters;"
            " give shorter names"
        )
    if any(model.name == "arduino" for model in library.models):
        raise UserError("name 'arduino': its header would hide Arduino.h; give another name")
    texts = {
        "library.properties": _properties(library),
        f"examples/{_EXAMPLE}/{_EXAMPLE}.ino": _example(library),
        **source_tree(library),
    }
    return zipped({f"{library.name}/{path}": text for path, text in texts.items()})


def _properties(library: Library) -> str:
    networks = "; ".join(
        f"{model.header}: {model.network.architecture}" for model in library.models
    )
    fields = {
        "name": library.name,
        "version": __version__,
        "author": "ebnn",
        "maintainer": "ebnn",
        "sentence": library.about,
        "paragraph": f"Generated C without allocation or recursion. {networks}",
        "category": "Data Processing",
        "url": _PAPER,
        "architectures": _ARCHITECTURES,
        "includes": ",".join(model.header for model in library.models),
        "dot_a_linkage": "true",
    }
    return "".join(f"{key}={value}\n" for key, value in fields.items())


def _example(library: Library) -> str:
    includes = "\n".join(f"#include <{model.header}>" for model in library.models)
    buffers = "\n".join(
        f"static {model.name}_input_t {model.name}_input; // to be filled with what was sensed\n"
        f"static {model.name}_output_t {model.name}_output;"
        for model in library.models
    )
    functions = "\n".join(_classify(model) for model in library.models)
    calls = "\n".join(f"  classify_{model.name}();" for model in library.models)
    return f"""// Classifies an input every second: prints its class, its score and the time taken.
{includes}

{buffers}

{functions}
void setup() {{
  Serial.begin(115200);
}}

void loop() {{
{calls}
  delay(1000);
}}
"""


def _classify(model: Model) -> str:
    name = model.name
    return f"""static void classify_{name}() {{
  const unsigned long start = micros();
  const int found = {name}_infer(&{name}_input, &{name}_output);
  const unsigned long taken = micros() - start;
  Serial.print("{name}: class ");
  Serial.print(found);
  Serial.print(", score ");
  Serial.print({name}_output.scores[found]);
  Serial.print(", us ");
  Serial.println(taken);
}}
"""
