"""The data sets: TensorFlow Datasets builders, a folder each, and the layout that they share."""
