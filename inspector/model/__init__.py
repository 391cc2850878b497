"""The model: bundle, preprocessing, network, out-of-distribution score and the verdict rule."""
