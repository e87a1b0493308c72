"""The stream on Spark: what is in a micro-batch, its two stages, and the driver's part."""
