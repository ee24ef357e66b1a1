"""A Cortex-M emulator that enforces memory limits and counts cycles. Knows no neural networks."""
