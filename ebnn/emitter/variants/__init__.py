"""The ways to compute a block: a module for each kernel of c_kernels, and what it needs in C."""

from ebnn.emitter.program import Head, Step
from ebnn.emitter.variants.conv_bits import CONV_BITS
from ebnn.emitter.variants.conv_columns import CONV_COLUMNS
from ebnn.emitter.variants.conv_dense import CONV_DENSE, CONV_DENSE_SMALL
from ebnn.emitter.variants.conv_int import CONV_INT
from ebnn.emitter.variants.conv_planes import CONV_PACKED, CONV_PLANES
from ebnn.emitter.variants.conv_sliced import CONV_SLICED, CONV_SLICED_NARROW, CONV_TABLES
from ebnn.emitter.variants.conv_sliced_groups import CONV_SLICED_GROUPS
from ebnn.emitter.variants.fc_lists import FC_LISTS
from ebnn.emitter.variants.head_lookup import head_lookup
from ebnn.emitter.variants.linear import FC, HEAD
from ebnn.emitter.variants.site import Variant
from ebnn.lowered import HeadLayer, HiddenLayer

HIDDEN: tuple[Variant[HiddenLayer, Step], ...] = (
    CONV_BITS,
    CONV_SLICED,
    CONV_SLICED_NARROW,
    CONV_SLICED_GROUPS,
    CONV_TABLES,
    CONV_PLANES,
    CONV_PACKED,
    CONV_COLUMNS,
    CONV_DENSE,
    CONV_DENSE_SMALL,
    CONV_INT,
    FC_LISTS,
    FC,
)
HEADS: tuple[Variant[HeadLayer, Head], ...] = (*(head_lookup(bits) for bits in (3, 4, 5, 6)), HEAD)
NAMES = (*(variant.name for variant in HIDDEN), *(variant.name for variant in HEADS))
