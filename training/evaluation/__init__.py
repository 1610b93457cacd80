"""The parts of `training.evaluate`: each file is one noun of an evaluation, pure numpy."""
