"""M3 against language models trained at one scale each, and against pooling without training."""
