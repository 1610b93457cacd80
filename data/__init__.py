"""Samples, readers, scores, splits and outcome tables; and ScaleBench, the generator of this project."""
