"""The architectures, one a file: backend-neutral Keras 3 from images in [0, 1] to logits of the input's size."""
