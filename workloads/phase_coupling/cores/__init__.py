"""The oscillators themselves: order parameter, two cores, their control, and a dense reference."""
