"""The ways to compute a block: a module for each kernel of c_kernels, and what it needs in C."""

from ebnn.emitter.variants.conv_bits import CONV_BITS
from ebnn.emitter.variants.conv_columns import CONV_COLUMNS
from ebnn.emitter.variants.conv_dense import CONV_DENSE
from ebnn.emitter.variants.conv_int import CONV_INT
from ebnn.emitter.variants.conv_planes import CONV_PLANES
from ebnn.emitter.variants.conv_sliced import CONV_SLICED
from ebnn.emitter.variants.linear import FC, HEAD

HIDDEN = (
    CONV_BITS,
    CONV_SLICED,
    CONV_PLANES,
    CONV_COLUMNS,
    CONV_DENSE,
    CONV_INT,
    FC,
)
HEADS = (HEAD,)
