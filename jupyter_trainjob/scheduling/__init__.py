"""Who starts now, and who waits for what. Pure: no I/O, no clock; the same snapshot gives the same decision."""
