"""Running the board harness on silicon, or what stands in for it, and recording what it says."""
